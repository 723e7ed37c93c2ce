#include "source/figures.h"

#include <gtest/gtest.h>

#include "godwit/base/clock.h"

namespace godwit::engine {
namespace {

/// The guest stopped at 100, COMMIT left at 160, RUNNING came at 200.
SourceStamps stamps() {
  return {.began_ns = 10,
          .precopy_began_ns = 20,
          .quiesced_ns = 110,
          .synced_ns = 120,
          .saved_ns = 130,
          .committed_ns = 160,
          .running_received_ns = 200};
}

MigrationReport report_of(const std::string& boot, std::int64_t first_run_ns) {
  MigrationReport report;
  report.stopped.last_ns = 100;
  report.target.boot_id = boot;
  report.target.first_run_ns = first_run_ns;
  report.target.run_ended_ns = first_run_ns == 0 ? 0 : first_run_ns - 10;
  fill_times(report, stamps(), 300, {}, {}, true);
  return report;
}

TEST(FillTimes, OneBootIsOneClock) {
  const auto report = report_of(boot_id(), 190);
  EXPECT_EQ(report.downtime_ns, 90);
  EXPECT_TRUE(report.trace.target_clock.known);
  EXPECT_EQ(report.trace.target_clock.ahead_ns, 0);
  EXPECT_EQ(report.trace.target_clock.error_ns, 0);
  EXPECT_EQ(report.trace.began_ns, 10);
  EXPECT_EQ(report.trace.precopy_began_ns, 20);
  EXPECT_EQ(report.trace.ended_ns, 300);
}

TEST(FillTimes, AnotherBootsClockIsFoundBetweenCommitAndRunning) {
  const auto report = report_of("another", 5180);
  EXPECT_EQ(report.downtime_ns, 100) << "until RUNNING came";
  const auto& clock = report.trace.target_clock;
  ASSERT_TRUE(clock.known);
  EXPECT_EQ(clock.ahead_ns, 4990) << "a vCPU may run late, RUNNING does not wait for it";
  EXPECT_EQ(clock.error_ns, 20);
}

// Durations of the target's that cannot be: the parts still add up to the downtime.
TEST(FillTimes, PartsAddUpWhateverTheTargetSaysOfItsTimes) {
  for (const auto ns : {std::uint64_t{0}, std::uint64_t{7}, std::uint64_t{1} << 63, UINT64_MAX}) {
    MigrationReport report;
    report.stopped.last_ns = 100;
    fill_times(report, stamps(), 300, {.load_ns = ns, .resume_ns = ns}, {}, true);
    const auto& parts = report.parts;
    EXPECT_EQ(parts.quiesce + parts.final_sync + parts.state_save + parts.state_transfer +
                  parts.state_load + parts.resume,
              report.downtime_ns)
        << ns;
    EXPECT_GE(parts.state_load, 0);
    EXPECT_GE(parts.resume, 0);
  }
}

TEST(FillTimes, AClockThatNothingTellsOfIsUnknown) {
  EXPECT_FALSE(report_of("another", 0).trace.target_clock.known);
  EXPECT_TRUE(report_of(boot_id(), 0).trace.target_clock.known);
}

}  // namespace
}  // namespace godwit::engine
