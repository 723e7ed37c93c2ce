#include "qemu/qemu_peer.h"

#include <gtest/gtest.h>

#include "qemu/guest_options.h"
#include "qemu/peers.h"
#include "qemu/qemu_figures.h"
#include "scenario/scenario.h"

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

TEST(QemuMode, ParsesPeersOnceEach) {
  const auto all = parse_peers({"qemu:multifd-3", "qemu", "qemu:postcopy"});
  ASSERT_TRUE(all);
  EXPECT_EQ(all->size(), all_qemu_modes().size() + 1);
  EXPECT_EQ(all->front().name, "multifd-3");
  EXPECT_FALSE(parse_peers({"xen"}));
  EXPECT_FALSE(parse_peers({"xen:precopy"}));
}

TEST(QemuMode, AScenarioNamesPeers) {
  const auto scenario = parse_scenario(
      parse_json(R"({"name": "x", "options": {}, "peers": ["qemu:postcopy"]})"), "test");
  ASSERT_TRUE(scenario);
  EXPECT_EQ(scenario->peers, std::vector<std::string>{"qemu:postcopy"});
  EXPECT_FALSE(parse_scenario(parse_json(R"({"name": "x", "options": {}, "peers": [1]})"), "test"));
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

TEST(QemuRun, TakesFiguresThatQemuReports) {
  const auto figures =
      qemu_figures(parse_json(R"({"downtime": 12, "ram": {"transferred": 4096}})"));
  EXPECT_EQ(number_at(figures, "/downtime_ns"), 12e6);
  EXPECT_EQ(number_at(figures, "/wire_bytes"), 4096);
  EXPECT_TRUE(qemu_figures(Json::object()).empty());
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
