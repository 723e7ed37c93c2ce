// The checks can fail: every planted fault is caught by whom docs and command line say, with their
// exit code.

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

Ran inject(const std::string& fault, const std::string& more = "") {
  return run_command(fmt::format("{} --inject {} {}", kGuest, fault, more));
}

TEST_F(InjectedFault, ControlRunWithoutOnePasses) {
  const auto ran = run_command(kGuest);
  EXPECT_EQ(ran.code, 0) << ran.out;
  EXPECT_TRUE(ran.report["injected"].is_null());
}

TEST_F(InjectedFault, FlippedBitIsCaughtByTheChecksum) {
  for (const auto* guest : {"--guest kvm", "--guest process"}) {
    const auto ran = inject("flip-bit", guest);
    ASSERT_TRUE(ran.report.is_object()) << ran.out;
    EXPECT_EQ(ran.code, 1) << ran.out;
    EXPECT_EQ(ran.report["outcome"], "failed");
    EXPECT_EQ(ran.report["error"]["code"], "checksum") << ran.out;
    EXPECT_NE(ran.report["error"]["message"].get<std::string>().find("page"), std::string::npos);
    EXPECT_EQ(ran.report["injected"]["kind"], "flip-bit");
  }
}

TEST_F(InjectedFault, FlippedBitIsCaughtByTheGuestWithoutChecksums) {
  const auto ran = inject("flip-bit", "--no-checksum");
  EXPECT_EQ(ran.code, 4) << ran.out;
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
      EXPECT_EQ(ran.code, 4) << guest << "\n" << ran.out;
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
  ASSERT_EQ(ran.code, 0) << ran.out;
  EXPECT_GE(ran.report["downtime_ns"].get<std::int64_t>(), 50'000'000);
  EXPECT_GE(ran.report["guest_gap_ns"].get<std::int64_t>(),
            ran.report["downtime_ns"].get<std::int64_t>());
}

TEST_F(InjectedFault, FaultDelayIsSeenByEngineAndGuest) {
  const auto ran = inject("fault-delay=5ms", "--mode postcopy");
  ASSERT_EQ(ran.code, 0) << ran.out;
  for (const auto* faults : {"faults", "guest_faults"}) {
    EXPECT_GT(ran.report[faults]["count"].get<std::uint64_t>(), 0U);
    EXPECT_GE(ran.report[faults]["max_ns"].get<std::int64_t>(), 5'000'000) << faults;
  }
}

TEST_F(InjectedFault, LinkCutBeforeCommitLeavesTheGuestAtTheSource) {
  for (const auto* guest : {"--guest kvm", "--guest process"}) {
    const auto ran = inject("cut-before-commit", guest);
    ASSERT_TRUE(ran.report.is_object()) << ran.out;
    EXPECT_EQ(ran.code, 1) << ran.out;
    EXPECT_EQ(ran.report["outcome"], "failed");
  }
}

TEST_F(InjectedFault, LinkCutAfterCommitHoldsBothSides) {
  for (const auto* guest : {"--guest kvm", "--guest process"}) {
    const auto ran = inject("cut-after-commit", guest);
    ASSERT_TRUE(ran.report.is_object()) << ran.out;
    EXPECT_EQ(ran.code, 5) << ran.out;
    EXPECT_EQ(ran.report["outcome"], "in_doubt");
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
    EXPECT_EQ(ran.code, code) << guest << " " << fault << "\n" << ran.out;
  }
}

TEST(Prealloc, OnAnonymousMemoryPopulatesWhereNoFaultIsWaitedForAndSaysSoElsewhere) {
  const std::string line = "demo --memory 64MiB --guest process --backing anonymous --prealloc ";
  const auto precopy = run_command(line + "--json --mode precopy");
  ASSERT_TRUE(precopy.report.is_object()) << precopy.out;
  EXPECT_EQ(precopy.code, 0);
  EXPECT_GT(precopy.report["prealloc_ns"].get<std::int64_t>(), 0);
  const auto hybrid = run_command(line, true);
  EXPECT_EQ(hybrid.code, 0) << hybrid.out;
  EXPECT_NE(hybrid.out.find("--prealloc populates nothing"), std::string::npos) << hybrid.out;
}

// A writer at full speed, over and over: the race that a single run does not meet.
void many_hybrid_runs(int runs) {
  for (int i = 0; i < runs; ++i) {
    const auto ran = run_command(fmt::format(
        "demo --json --memory 256MiB --workload random-write --mode hybrid --seed {}", i + 1));
    ASSERT_EQ(ran.code, 0) << "run " << i << "\n" << ran.out;
    ASSERT_EQ(ran.report["verified"]["mismatches"], 0);
  }
}

TEST(HybridInARow, TenRunsVerify) {
  many_hybrid_runs(10);
}

}  // namespace
}  // namespace godwit::test
