// The checks can fail: every planted fault is caught by whom docs and command line say, with their exit code.

#include <gtest/gtest.h>

#include "command.h"

namespace godwit::test {
namespace {

const std::string kGuest = "demo --json --memory 64MiB --workload random-write ";

Ran inject(const std::string& fault, const std::string& more = "") {
  return run_command(fmt::format("{} --inject {} {}", kGuest, fault, more));
}

TEST(InjectedFault, ControlRunWithoutOnePasses) {
  const auto ran = run_command(kGuest);
  EXPECT_EQ(ran.code, 0) << ran.out;
  EXPECT_TRUE(ran.report["injected"].is_null());
}

TEST(InjectedFault, FlippedBitIsCaughtByTheChecksum) {
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

TEST(InjectedFault, FlippedBitIsCaughtByTheGuestWithoutChecksums) {
  const auto ran = inject("flip-bit", "--no-checksum");
  EXPECT_EQ(ran.code, 4) << ran.out;
}

TEST(InjectedFault, DroppedPageIsCaughtByTheGuest) {
  EXPECT_EQ(inject("drop-page", "--guest kvm").code, 4);
  EXPECT_EQ(inject("drop-page", "--guest process").code, 4);
}

TEST(InjectedFault, StalePageIsCaughtByTheGuest) {
  for (const auto* guest : {"--guest kvm --dirty-source log", "--guest kvm --dirty-source ring",
                            "--guest process --dirty-source wp", "--guest process --dirty-source wp-async"}) {
    for (int seed = 1; seed <= 3; ++seed) {
      const auto ran = inject("stale-page", fmt::format("{} --seed {}", guest, seed));
      EXPECT_EQ(ran.code, 4) << guest << "\n" << ran.out;
    }
  }
}

TEST(InjectedFault, StalePageNeedsAWriterAndPrecopy) {
  EXPECT_EQ(run_command("demo --json --memory 64MiB --workload idle --inject stale-page").code, 2);
  EXPECT_EQ(inject("stale-page", "--mode postcopy").code, 2);
}

TEST(InjectedFault, SkippedRegisterIsCaughtByTheGuest) {
  for (int seed = 1; seed <= 4; ++seed) {
    EXPECT_EQ(inject("skip-register", fmt::format("--guest kvm --seed {}", seed)).code, 4) << "seed " << seed;
  }
  EXPECT_EQ(inject("skip-register", "--guest process").code, 4);
}

TEST(InjectedFault, BlackoutDelayIsSeenByEngineAndGuest) {
  const auto ran = inject("blackout-delay=50ms");
  ASSERT_EQ(ran.code, 0) << ran.out;
  EXPECT_GE(ran.report["downtime_ns"].get<std::int64_t>(), 50'000'000);
  EXPECT_GE(ran.report["guest_gap_ns"].get<std::int64_t>(), ran.report["downtime_ns"].get<std::int64_t>());
}

TEST(InjectedFault, LinkCutBeforeCommitLeavesTheGuestAtTheSource) {
  for (const auto* guest : {"--guest kvm", "--guest process"}) {
    const auto ran = inject("cut-before-commit", guest);
    ASSERT_TRUE(ran.report.is_object()) << ran.out;
    EXPECT_EQ(ran.code, 1) << ran.out;
    EXPECT_EQ(ran.report["outcome"], "failed");
  }
}

TEST(InjectedFault, LinkCutAfterCommitHoldsBothSides) {
  for (const auto* guest : {"--guest kvm", "--guest process"}) {
    const auto ran = inject("cut-after-commit", guest);
    ASSERT_TRUE(ran.report.is_object()) << ran.out;
    EXPECT_EQ(ran.code, 5) << ran.out;
    EXPECT_EQ(ran.report["outcome"], "in_doubt");
  }
}

TEST(CommandLine, UsageErrorsEndWithTwo) {
  for (const auto* arguments :
       {"demo --no-such-option", "demo --workload dance", "demo --memory 100000", "demo --memory 64MiB --populated 65MiB",
        "demo --memory 64MiB --working-set 65MiB", "demo --memory -1", "demo --downtime-limit 5", "demo --memory 1.5GiB",
        "demo --memory 99999999999999999999", "no-such-command", "demo --mode sideways", "migrate",
        "demo --dirty-source guess", "demo --guest process --dirty-source ring", "demo --guest kvm --dirty-source wp",
        "run --control /tmp/unused --guest process --dirty-source log"}) {
    EXPECT_EQ(run_command(arguments).code, 2) << arguments;
  }
}

TEST(CommandLine, EnvironmentErrorsEndWithThree) {
  EXPECT_EQ(run_command("receive --listen tcp:127.0.0.1:0 --control /nonexistent/directory/socket").code, 3);
  EXPECT_EQ(run_command("demo --json --memory 900GiB --populated 800GiB").code, 3);
}

// A writer at full speed, over and over: the race that a single run does not meet.
void many_hybrid_runs(int runs) {
  for (int i = 0; i < runs; ++i) {
    const auto ran = run_command(
        fmt::format("demo --json --memory 256MiB --workload random-write --mode hybrid --seed {}", i + 1));
    ASSERT_EQ(ran.code, 0) << "run " << i << "\n" << ran.out;
    ASSERT_EQ(ran.report["verified"]["mismatches"], 0);
  }
}

TEST(HybridInARow, TenRunsVerify) { many_hybrid_runs(10); }

}  // namespace
}  // namespace godwit::test
