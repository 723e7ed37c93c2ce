#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "support/command/command.h"
#include "support/require_kvm.h"

// godwit beside QEMU, as a user of the lab compares them.

namespace godwit::test {
namespace {

std::vector<Json> of_kind(const Outcome& ran, const std::string& kind) {
  std::vector<Json> found;
  for (const auto& row : json_lines(ran.out)) {
    if (row.value("kind", "") == kind) {
      found.push_back(row);
    }
  }
  return found;
}

TEST(LabPeer, QemuMigratesTheSameGuestAndItsPagesAreChecked) {
  GODWIT_NEED_PROGRAM("qemu-system-x86_64", "qemu-system-x86");
  GODWIT_NEED_KVM();
  const auto ran = run_lab(
      "compare --peer qemu:precopy --peer qemu:postcopy --scenario idle-1g "
      "--set-a memory=64MiB --set-a floors=false --set-a timeline=true --pairs 1 --json");
  EXPECT_EQ(ran.code, 0) << ran.all();
  // Of every version that is here.
  std::map<std::string, std::set<std::string>> modes;
  std::size_t sides = 0;
  for (const auto& row : of_kind(ran, "run")) {
    EXPECT_EQ(row["verified"], true) << row["reason"];
    for (const auto* figure : {"total_ns",
                               "downtime_ns",
                               "guest_gap_ns",
                               "largest_stall_ns",
                               "cpu_source_ns",
                               "cpu_target_ns",
                               "wire_bytes"}) {
      EXPECT_GT(row["figures"].value(figure, 0.0), 0.0) << figure;
    }
    if (row["peer"].is_null()) {
      continue;
    }
    ++sides;
    modes[row["peer"].value("version", "")].insert(row["peer"].value("mode", ""));
    const auto& verified = row["report"]["qemu"]["verified"];
    EXPECT_GT(verified.value("pages_checked", 0), 15'000) << "of 16 384 pages of 64 MiB";
    std::uint64_t touches = 0;
    for (const auto& count : row["report"]["timeline"]["touches"]) {
      touches += count.get<std::uint64_t>();
    }
    const auto intervals = row["report"]["timeline"]["touches"].size();
    EXPECT_GT(intervals, 100U);
    // An idle guest counts its steps, and the timeline is a good part of its life.
    const auto steps = row["report"]["qemu"].value("steps", std::uint64_t{0});
    EXPECT_LE(touches, steps);
    EXPECT_GT(touches * 10, steps);
    EXPECT_TRUE(row["figures"].contains("valley"));
    // Not compared with downtime_ns: QEMU counts until its source has heard of the end and has come
    // to run again, and by then the guest may have been running at the target for long.
    EXPECT_GE(row["figures"]["largest_stall_ns"].get<double>(),
              row["figures"]["guest_gap_ns"].get<double>());
  }
  const auto left = of_kind(ran, "left_out");
  for (const auto& row : left) {
    EXPECT_NE(row["reason"], "");
  }
  EXPECT_GE(modes.size(), 1U);
  for (const auto& [version, measured] : modes) {
    EXPECT_EQ(measured.count("precopy"), 1U) << version;
    EXPECT_EQ(measured.count("postcopy"), left.empty() ? 1U : measured.count("postcopy"))
        << version;
  }
  EXPECT_EQ(of_kind(ran, "comparison").size(), sides);
}

TEST(LabPeer, ALoadIsTheSameForQemu) {
  GODWIT_NEED_PROGRAM("qemu-system-x86_64", "qemu-system-x86");
  GODWIT_NEED_KVM();
  const auto ran = run_lab(
      "compare --peer qemu:precopy --qemu qemu-system-x86_64 --scenario same --pairs 1 --json "
      "--set load.cpu_quota=150% --set load.busy=1");
  if (ran.code == 3) {
    GODWIT_MISSING("surroundings", ran.err);
  }
  EXPECT_EQ(ran.code, 0) << ran.all();
  const auto runs = of_kind(ran, "run");
  ASSERT_EQ(runs.size(), 2U);
  for (const auto& row : runs) {
    EXPECT_EQ(row["load"]["busy"], 1);
    EXPECT_GT(row["load_seen"].value("busy_cpu_ns", 0.0), 1e7) << row["load_seen"];
    // Periods count in which one of its processes ran: the whole life of both guests.
    EXPECT_GT(row["load_seen"].value("periods", 0.0), 5) << row["load_seen"];
  }
}

TEST(LabPeer, WithoutQemuGodwitIsMeasuredAlone) {
  const auto ran =
      run_lab("compare --peer qemu --qemu /no/such/qemu --scenario same --pairs 1 --json");
  EXPECT_EQ(ran.code, 0) << ran.all();
  EXPECT_EQ(of_kind(ran, "run").size(), 1U);
  const auto left = of_kind(ran, "left_out");
  ASSERT_EQ(left.size(), 1U);
  EXPECT_NE(left.front().value("reason", "").find("/no/such/qemu"), std::string::npos);
}

TEST(LabPeer, UsageErrorsExitWithTwo) {
  EXPECT_EQ(run_lab("compare --peer xen --scenario same").code, 2);
  EXPECT_EQ(run_lab("compare --peer qemu:dance --scenario same").code, 2);
  EXPECT_EQ(run_lab("compare --peer qemu --scenario same --set-b seed=2").code, 2);
}

}  // namespace
}  // namespace godwit::test
