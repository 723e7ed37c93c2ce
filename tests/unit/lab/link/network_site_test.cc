#include "link/network_site.h"

#include <string>

#include <gtest/gtest.h>

#include "support/link_support.h"

namespace godwit::lab {
namespace {

TEST(NetworkSite, HasTheFirstCongestionControlThatIsAllowed) {
  GODWIT_NEED_LINK(LinkSpec{.emulated = true});
  const auto site = NetworkSite::create({"no-such-control", "reno"});
  ASSERT_TRUE(site) << site.error().message();
  const auto congestion = site->congestion();
  ASSERT_TRUE(congestion);
  EXPECT_EQ(*congestion, "reno");
}

TEST(NetworkSite, WhatRunsWithinItStaysThere) {
  GODWIT_NEED_LINK(LinkSpec{.emulated = true});
  const auto site = NetworkSite::create({"reno"});
  ASSERT_TRUE(site);
  const auto before = congestion_here();
  std::string within;
  EXPECT_TRUE(site->within([&]() -> Status {
    within = congestion_here();
    return {};
  }));
  EXPECT_EQ(within, "reno");
  EXPECT_EQ(congestion_here(), before);
  EXPECT_TRUE(site->open());
  EXPECT_FALSE(site->within([]() -> Status { return fail(ErrorCode::kIo, "test"); }));
}

TEST(RunTool, TellsWhatWentWrong) {
  const auto missing = run_tool("no-such-tool", {});
  ASSERT_FALSE(missing);
  EXPECT_NE(missing.error().message().find("install iproute2"), std::string::npos);
  const auto failed = run_tool("ls", {"/nowhere/at/all"});
  ASSERT_FALSE(failed);
  EXPECT_NE(failed.error().message().find("/nowhere/at/all"), std::string::npos);
}

}  // namespace
}  // namespace godwit::lab
