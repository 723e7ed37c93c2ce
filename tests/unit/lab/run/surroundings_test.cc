#include "run/surroundings.h"

#include <unistd.h>

#include <gtest/gtest.h>

#include "support/require.h"

namespace godwit::lab {
namespace {

constexpr std::int64_t kRunNs = 60'000'000'000;

Point plain_point(const char* options) {
  return {"x", parse_json(options), Json::object()};
}

TEST(Surroundings, WithoutAnyNothingIsMade) {
  const auto around = Surroundings::make(plain_point("{}"), 1, kRunNs);
  ASSERT_TRUE(around);
  EXPECT_EQ(around->link(), nullptr);
  EXPECT_EQ(around->cgroup_fd(), -1);
  EXPECT_FALSE(around->user());
  Json row;
  around->describe(row);
  around->account(row);
  EXPECT_EQ(row, parse_json(R"({"link": null, "load": null, "user": null})"));
  EXPECT_EQ(*why_impossible(plain_point("{}"), "/bin/sh"), "");
}

TEST(Surroundings, ALoadIsDescribedAndAccountedFor) {
  auto point = plain_point("{}");
  point.load = {{"busy", 1}};
  const auto around = Surroundings::make(point, 1, kRunNs);
  ASSERT_TRUE(around);
  Json row;
  around->describe(row);
  around->account(row);
  EXPECT_EQ(number_at(row, "/load/busy"), 1);
  EXPECT_TRUE(row["load_seen"].contains("busy_cpu_ns"));
  EXPECT_EQ(around->broken_reason(), "");
}

TEST(Surroundings, WhatCannotBeIsSaidBefore) {
  auto point = plain_point("{}");
  point.load = {{"busy", "many"}};
  EXPECT_FALSE(why_impossible(point, "/bin/sh"));
  point.load = nullptr;
  point.user = "no-such-user";
  EXPECT_FALSE(why_impossible(point, "/bin/sh"));
  EXPECT_FALSE(Surroundings::make(point, 1, kRunNs));
}

TEST(Surroundings, TheUserOfTheLabIsNoOtherUser) {
  if (::geteuid() != 0) {
    auto point = plain_point("{}");
    point.user = "root";
    EXPECT_NE(why_impossible(point, "/bin/sh")->find("takes root"), std::string::npos);
    GODWIT_MISSING("surroundings", "becoming another user takes root");
  }
  auto point = plain_point("{}");
  point.user = "root";
  EXPECT_EQ(*why_impossible(point, "/nowhere"), "");
  const auto around = Surroundings::make(point, 1, kRunNs);
  ASSERT_TRUE(around);
  EXPECT_FALSE(around->user());
  Json row;
  around->describe(row);
  EXPECT_EQ(text_at(row, "/user"), "root");
}

TEST(Surroundings, AUserNeedsTheCommandAndForAKvmGuestTheDevice) {
  if (::geteuid() != 0) {
    GODWIT_MISSING("surroundings", "becoming another user takes root");
  }
  auto point = plain_point(R"({"guest": "process"})");
  point.user = "nobody";
  EXPECT_EQ(*why_impossible(point, "/bin/sh"), "");
  EXPECT_NE(why_impossible(point, "/nowhere/godwit")->find("cannot execute /nowhere/godwit"),
            std::string::npos);
  const auto around = Surroundings::make(point, 1, kRunNs);
  ASSERT_TRUE(around);
  ASSERT_TRUE(around->user());
  EXPECT_EQ(around->user()->name, "nobody");
  point.options = Json::object();
  const auto openable = why_not_openable(*find_user("nobody"), "/dev/kvm").empty();
  const auto reason = *why_impossible(point, "/bin/sh");
  EXPECT_EQ(reason.empty(), openable) << reason;
  if (!openable) {
    EXPECT_NE(reason.find("user nobody cannot open /dev/kvm"), std::string::npos) << reason;
    EXPECT_NE(reason.find(R"("guest": "process")"), std::string::npos) << reason;
  }
}

}  // namespace
}  // namespace godwit::lab
