// The checks can fail: every planted fault is caught by whom docs and command line say, with their
// exit code.

#include <cstdint>
#include <string>
#include <utility>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "support/command/command.h"
#include "support/require_kvm.h"

namespace godwit::test {
namespace {

const std::string kGuest = "demo --json --memory 64MiB --workload random-write ";

/// Both kinds of guests, one after the other, in most tests.
class InjectedFault : public testing::Test {
 protected:
  void SetUp() override { GODWIT_NEED_KVM(); }
};

Outcome inject(const std::string& fault, const std::string& more = "") {
  return run(fmt::format("{} --inject {} {}", kGuest, fault, more));
}

TEST_F(InjectedFault, ControlRunWithoutOnePasses) {
  const auto ran = run(kGuest);
  EXPECT_EQ(ran.code, 0) << ran.all();
  EXPECT_TRUE(ran.json["injected"].is_null());
}

TEST_F(InjectedFault, FlippedBitIsCaughtByTheChecksum) {
  for (const auto* guest : {"--guest kvm", "--guest process"}) {
    const auto ran = inject("flip-bit", guest);
    ASSERT_TRUE(ran.json.is_object()) << ran.all();
    EXPECT_EQ(ran.code, 1) << ran.all();
    EXPECT_EQ(ran.json["outcome"], "failed");
    EXPECT_EQ(ran.json["error"]["code"], "checksum") << ran.all();
    EXPECT_NE(ran.json["error"]["message"].get<std::string>().find("page"), std::string::npos);
    EXPECT_EQ(ran.json["injected"]["kind"], "flip-bit");
  }
}

TEST_F(InjectedFault, FlippedBitIsCaughtByTheGuestWithoutChecksums) {
  const auto ran = inject("flip-bit", "--no-checksum");
  EXPECT_EQ(ran.code, 4) << ran.all();
}

TEST_F(InjectedFault, DroppedPageIsCaughtByTheGuest) {
  EXPECT_EQ(inject("drop-page", "--guest kvm").code, 4);
  EXPECT_EQ(inject("drop-page", "--guest process").code, 4);
}

TEST_F(InjectedFault, StalePageIsCaughtByTheGuest) {
  for (const auto* guest : {"--guest kvm --dirty-source log",
                            "--guest kvm --dirty-source ring",
                            "--guest process --dirty-source wp",
                            "--guest process --dirty-source wp-async"}) {
    for (int seed = 1; seed <= 3; ++seed) {
      const auto ran = inject("stale-page", fmt::format("{} --seed {}", guest, seed));
      EXPECT_EQ(ran.code, 4) << guest << "\n" << ran.all();
    }
  }
}

TEST_F(InjectedFault, SkippedRegisterIsCaughtByTheGuest) {
  for (int seed = 1; seed <= 4; ++seed) {
    EXPECT_EQ(inject("skip-register", fmt::format("--guest kvm --seed {}", seed)).code, 4)
        << "seed " << seed;
  }
  EXPECT_EQ(inject("skip-register", "--guest process").code, 4);
}

TEST_F(InjectedFault, BlackoutDelayIsSeenByEngineAndGuest) {
  const auto ran = inject("blackout-delay=50ms");
  ASSERT_EQ(ran.code, 0) << ran.all();
  EXPECT_GE(ran.json["downtime_ns"].get<std::int64_t>(), 50'000'000);
  EXPECT_GE(ran.json["guest_gap_ns"].get<std::int64_t>(),
            ran.json["downtime_ns"].get<std::int64_t>());
}

TEST_F(InjectedFault, FaultDelayIsSeenByEngineAndGuest) {
  const auto ran = inject("fault-delay=5ms", "--mode postcopy");
  ASSERT_EQ(ran.code, 0) << ran.all();
  for (const auto* faults : {"faults", "guest_faults"}) {
    EXPECT_GT(ran.json[faults]["count"].get<std::uint64_t>(), 0U);
    EXPECT_GE(ran.json[faults]["max_ns"].get<std::int64_t>(), 5'000'000) << faults;
  }
}

TEST_F(InjectedFault, LinkCutBeforeCommitLeavesTheGuestAtTheSource) {
  for (const auto* guest : {"--guest kvm", "--guest process"}) {
    const auto ran = inject("cut-before-commit", guest);
    ASSERT_TRUE(ran.json.is_object()) << ran.all();
    EXPECT_EQ(ran.code, 1) << ran.all();
    EXPECT_EQ(ran.json["outcome"], "failed");
  }
}

TEST_F(InjectedFault, LinkCutAfterCommitHoldsBothSides) {
  for (const auto* guest : {"--guest kvm", "--guest process"}) {
    const auto ran = inject("cut-after-commit", guest);
    ASSERT_TRUE(ran.json.is_object()) << ran.all();
    EXPECT_EQ(ran.code, 5) << ran.all();
    EXPECT_EQ(ran.json["outcome"], "in_doubt");
  }
}

TEST_F(InjectedFault, EachIsCaughtOnAnonymousMemoryToo) {
  const std::pair<const char*, int> faults[] = {{"flip-bit", 1},
                                                {"flip-bit --no-checksum", 4},
                                                {"drop-page", 4},
                                                {"stale-page", 4},
                                                {"skip-register", 4},
                                                {"blackout-delay=50ms", 0},
                                                {"fault-delay=1ms", 0},
                                                {"cut-before-commit", 1},
                                                {"cut-after-commit", 5}};
  int turn = 0;
  for (const auto& [fault, code] : faults) {
    // The other kind of guest with each fault: the whole product takes too long for every run.
    const auto* guest = turn++ % 2 == 0 ? "kvm" : "process";
    const auto ran = inject(fault, fmt::format("--backing anonymous --guest {}", guest));
    EXPECT_EQ(ran.code, code) << guest << " " << fault << "\n" << ran.all();
  }
}

TEST(Prealloc, OnAnonymousMemoryPopulatesWhereNoFaultIsWaitedForAndSaysSoElsewhere) {
  const std::string line = "demo --memory 64MiB --guest process --backing anonymous --prealloc ";
  const auto precopy = run(line + "--json --mode precopy");
  ASSERT_TRUE(precopy.json.is_object()) << precopy.all();
  EXPECT_EQ(precopy.code, 0);
  EXPECT_GT(precopy.json["prealloc_ns"].get<std::int64_t>(), 0);
  const auto hybrid = run(line);
  EXPECT_EQ(hybrid.code, 0) << hybrid.all();
  EXPECT_NE(hybrid.err.find("--prealloc populates nothing"), std::string::npos) << hybrid.all();
}

// A writer at full speed, over and over: the race that a single run does not meet.
void many_hybrid_runs(int runs) {
  for (int i = 0; i < runs; ++i) {
    const auto ran = run(fmt::format(
        "demo --json --memory 256MiB --workload random-write --mode hybrid --seed {}", i + 1));
    ASSERT_EQ(ran.code, 0) << "run " << i << "\n" << ran.all();
    ASSERT_EQ(ran.json["verified"]["mismatches"], 0);
  }
}

TEST(HybridInARow, TenRunsVerify) {
  many_hybrid_runs(10);
}

}  // namespace
}  // namespace godwit::test
