#include "qemu/qemu_peer.h"

#include <gtest/gtest.h>

#include "qemu/guest_options.h"

namespace godwit::lab {
namespace {

TEST(QemuMode, ReadsNames) {
  const auto precopy = parse_qemu_mode("precopy");
  ASSERT_TRUE(precopy);
  EXPECT_EQ(precopy->channels, 0U);
  EXPECT_FALSE(precopy->postcopy);
  const auto multifd = parse_qemu_mode("multifd-8");
  ASSERT_TRUE(multifd);
  EXPECT_EQ(multifd->channels, 8U);
  const auto preempt = parse_qemu_mode("postcopy-preempt");
  ASSERT_TRUE(preempt);
  EXPECT_TRUE(preempt->postcopy && preempt->preempt);
  for (const auto* name : {"", "hybrid", "multifd-", "multifd-0", "multifd-65", "multifd-2x"}) {
    EXPECT_FALSE(parse_qemu_mode(name)) << name;
  }
}

TEST(QemuPeer, ALackingCapabilityIsNamed) {
  QemuPeer peer;
  peer.version = "6.2.0";
  peer.capabilities = {"events", "postcopy-ram"};
  peer.refused = {"postcopy-preempt: no such capability"};
  EXPECT_EQ(why_not(peer, *parse_qemu_mode("postcopy")), "");
  const auto reason = why_not(peer, *parse_qemu_mode("postcopy-preempt"));
  EXPECT_NE(reason.find("postcopy-preempt: no such capability"), std::string::npos) << reason;
  EXPECT_NE(why_not(peer, *parse_qemu_mode("multifd-2")).find("6.2.0 lacks"), std::string::npos);
}

TEST(QemuPeer, AMissingProgramIsUnsupported) {
  const auto peer = probe_qemu("/no/such/qemu", -1);
  ASSERT_FALSE(peer);
  EXPECT_EQ(peer.error().code, ErrorCode::kUnsupported);
}

TEST(QemuPeer, AProgramThatIsNoQemuIsUnsupported) {
  const auto peer = probe_qemu("/bin/true", -1);
  ASSERT_FALSE(peer);
  EXPECT_EQ(peer.error().code, ErrorCode::kUnsupported) << peer.error().message();
}

Point point_of(const char* options) {
  return {"test", parse_json(options), Json::object()};
}

TEST(GuestOptions, ReadsSizesTimesAndNames) {
  const auto options = guest_options(point_of(
      R"({"memory": "64MiB", "workload": "zipf-write", "rate": "1GiB", "fill": "zero", "vcpus": 1,
          "downtime_limit": "20ms", "max_bandwidth": 1000, "prealloc": true, "mode": "postcopy"})"));
  ASSERT_TRUE(options) << options.error().message();
  EXPECT_EQ(options->guest.memory_bytes, 64ULL << 20);
  EXPECT_EQ(options->guest.populated_bytes, 64ULL << 20);
  EXPECT_EQ(options->guest.working_set_bytes, 32ULL << 20);
  EXPECT_EQ(options->guest.workload, vmm::Workload::kZipfWrite);
  EXPECT_EQ(options->guest.fill, vmm::Fill::kZero);
  EXPECT_EQ(options->guest.rate_bytes_per_s, 1ULL << 30);
  EXPECT_EQ(options->downtime_limit_ns, 20'000'000);
  EXPECT_EQ(options->max_bandwidth, 1000U);
  EXPECT_TRUE(options->prealloc);
  EXPECT_EQ(options->switch_after_rounds, 0U);
}

TEST(GuestOptions, WhatOnlyGodwitCanDoIsUnsupported) {
  for (const auto* text :
       {R"({"vcpus": 2})", R"({"guest": "process"})", R"({"inject": "drop-page"})"}) {
    const auto options = guest_options(point_of(text));
    ASSERT_FALSE(options) << text;
    EXPECT_EQ(options.error().code, ErrorCode::kUnsupported);
  }
  for (const auto* text : {R"({"memory": "1GB"})",
                           R"({"memory": "99999999999GiB"})",
                           R"({"workload": "dance"})",
                           R"({"downtime_limit": "20"})"}) {
    const auto options = guest_options(point_of(text));
    ASSERT_FALSE(options) << text;
    EXPECT_EQ(options.error().code, ErrorCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace godwit::lab
