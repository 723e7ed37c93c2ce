// A demo whose processes live in network namespaces of their own.

#include <unistd.h>

#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "support/command/command.h"
#include "support/link_support.h"

namespace godwit::test {
namespace {

constexpr const char* kSmall =
    "demo --json --guest process --memory 32MiB --workload random-write ";

TEST(Netns, TheMigrationRunsBetweenTwoNamespaces) {
  const lab::LinkSpec spec{.delay_us = 1000, .emulated = true};
  GODWIT_NEED_LINK(spec);
  auto link = lab::Link::create(spec);
  ASSERT_TRUE(link) << link.error().message();
  std::string arguments = kSmall;
  for (const auto& word : link->demo_arguments()) {
    arguments += word + " ";
  }
  const auto ran = run(arguments);
  ASSERT_EQ(ran.code, 0) << ran.all();
  EXPECT_EQ(ran.json["outcome"], "completed");
  EXPECT_GT(link->counts()->delivered, 100U) << "not over this link";
}

TEST(Netns, AnAddressThatTheOtherDoesNotReachIsAUsageError) {
  for (const auto* more :
       {"--source-netns a", "--target-netns a", "--source-netns a --target-netns b"}) {
    const auto ran = run(kSmall + std::string(more));
    EXPECT_EQ(ran.code, 2) << more;
    EXPECT_NE(ran.err.find("--listen tcp:127.0.0.1:0: another network namespace"),
              std::string::npos)
        << ran.all();
  }
}

TEST(Netns, OneNamespaceForBothNeedsNoAddress) {
  const lab::LinkSpec spec{.emulated = true};
  GODWIT_NEED_LINK(spec);
  const auto link = lab::Link::create(spec);
  const auto path = link->source().path();
  const auto ran = run(fmt::format("{} --source-netns {} --target-netns {}", kSmall, path, path));
  EXPECT_EQ(ran.code, 0) << ran.all();
  EXPECT_EQ(link->counts()->delivered, 0U);
}

TEST(Netns, AUnixSocketWorksAcrossThem) {
  const lab::LinkSpec spec{.emulated = true};
  GODWIT_NEED_LINK(spec);
  const auto link = lab::Link::create(spec);
  const auto path = fmt::format("/tmp/godwit-netns-{}", ::getpid());
  const auto ran = run(
      fmt::format("{} --source-netns {} --listen unix:{}", kSmall, link->source().path(), path));
  EXPECT_EQ(ran.code, 0) << ran.all();
}

TEST(Netns, WhatCannotBeEnteredIsTheEnvironments) {
  const auto refused = [](const std::string& more, const std::string& says) {
    const auto ran = run(kSmall + more + " --listen tcp:198.18.0.2:0");
    EXPECT_EQ(ran.code, 3) << more;
    EXPECT_NE(ran.err.find(says), std::string::npos) << ran.all();
  };
  refused("--source-netns godwit-nowhere",
          "--source-netns: /run/netns/godwit-nowhere: make it with");
  refused("--target-netns /nowhere/net", "--target-netns: /nowhere/net");
  refused("--target-netns /proc/self/ns/uts", "is no network namespace");
}

TEST(Netns, OnlyADemoHasThem) {
  EXPECT_EQ(run("run --control /tmp/godwit-none --source-netns a").code, 2);
  EXPECT_EQ(run("receive --control /tmp/godwit-none --target-netns a").code, 2);
}

}  // namespace
}  // namespace godwit::test
