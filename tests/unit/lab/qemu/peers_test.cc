#include "qemu/peers.h"

#include <fstream>

#include <gtest/gtest.h>

#include "ground/temporary_directory.h"

namespace godwit::lab {
namespace {

TEST(QemuMode, ParsesPeersOnceEach) {
  const auto all = parse_peers({"qemu:multifd-3", "qemu", "qemu:postcopy"});
  ASSERT_TRUE(all);
  EXPECT_EQ(all->size(), all_qemu_modes().size() + 1);
  EXPECT_EQ(all->front().name, "multifd-3");
  EXPECT_FALSE(parse_peers({"xen"}));
  EXPECT_FALSE(parse_peers({"xen:precopy"}));
}

TEST(Peers, WhatCannotBeMeasuredIsLeftOutAndWritten) {
  const auto directory = TemporaryDirectory::create();
  ASSERT_TRUE(directory);
  struct Case {
    const char* options;
    const char* program;
    const char* reason;
  };
  for (const auto& one : {Case{R"({"vcpus": 2})", "/bin/true", "has one vCPU"},
                          Case{R"({"memory": "64MiB"})", "/no/such/qemu", "install Debian's"}}) {
    const auto path = directory->file("rows");
    {
      auto results = Results::open(path, false);
      ASSERT_TRUE(results);
      testing::internal::CaptureStderr();
      const auto sides = peer_sides(all_qemu_modes(),
                                    one.program,
                                    {"test", parse_json(one.options), Json::object()},
                                    -1,
                                    *results);
      EXPECT_NE(testing::internal::GetCapturedStderr().find("left out: qemu: "), std::string::npos);
      ASSERT_TRUE(sides) << sides.error().message();
      EXPECT_TRUE(sides->empty());
    }
    std::ifstream file(path);
    const auto row = parse_json(file);
    EXPECT_EQ(text_at(row, "/kind"), "left_out");
    EXPECT_EQ(text_at(row, "/peer/name"), "qemu");
    EXPECT_NE(text_at(row, "/reason").find(one.reason), std::string::npos) << json_text(row);
  }
}

TEST(Peers, AWrongOptionIsAnErrorAndNotLeftOut) {
  auto results = Results::open("", false);
  ASSERT_TRUE(results);
  const auto sides =
      peer_sides({}, "/bin/true", {"test", {{"memory", "1GB"}}, Json::object()}, -1, *results);
  ASSERT_FALSE(sides);
  EXPECT_EQ(sides.error().code, ErrorCode::kInvalidArgument);
}

TEST(Peers, BothSidesShareACongestionControl) {
  Point point{"test", {{"congestion", "no-such-control"}}, Json::object()};
  share_congestion(point);
  EXPECT_NE(text_at(point.options, "/congestion"), "no-such-control");
}

}  // namespace
}  // namespace godwit::lab
