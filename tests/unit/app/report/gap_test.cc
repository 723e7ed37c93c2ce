#include "report/gap.h"

#include <string>

#include <gtest/gtest.h>

namespace godwit::app {
namespace {

/// A guest whose vCPUs last stepped at the source at 1 s and first stepped here after `gaps_ns`.
vmm::GuestTelemetry telemetry_of(const std::vector<std::int64_t>& gaps_ns) {
  vmm::GuestTelemetry telemetry;
  for (const auto gap_ns : gaps_ns) {
    auto& vcpu = telemetry.vcpus.emplace_back();
    vcpu.steps = 10;
    vcpu.previous_step_ns = 1'000'000'000;
    vcpu.previous_counter = 1'000;
    vcpu.first_step_ns = vcpu.previous_step_ns + gap_ns;
    vcpu.first_counter = vcpu.previous_counter + static_cast<std::uint64_t>(gap_ns);
    vcpu.largest_step_ns = 50;
  }
  return telemetry;
}

Report report_with(std::int64_t downtime_ns) {
  Report report;
  report.outcome = engine::Outcome::kCompleted;
  report.guest.workload = "random-write";
  report.downtime_ns = downtime_ns;
  return report;
}

TEST(Gap, IsTheLargestOfTheVcpus) {
  auto report = report_with(4'000'000);
  ReportAnswer source;
  source.telemetry.vcpus.emplace_back().largest_step_ns = 7'000'000;
  add_target(report, source, {telemetry_of({4'050'000, 4'100'000}), {}, {30, 40}});
  EXPECT_EQ(report.guest_gap_ns, 4'100'000);
  EXPECT_EQ(report.clock_error_ns, 0);
  EXPECT_EQ(report.largest_stall_ns, 7'000'000) << "that of both sides";
  EXPECT_EQ(report.guest.steps, 20U);
  EXPECT_EQ(report.overhead_bytes.target, 30U);
  EXPECT_EQ(report.page_table_bytes.target, 40U);
  EXPECT_TRUE(report.warnings.empty());
}

TEST(Gap, ByTheCountersShowsAClockThatIsOff) {
  auto report = report_with(4'000'000);
  auto telemetry = telemetry_of({4'000'000});
  telemetry.vcpus[0].first_counter += 700;
  add_target(report, {}, {telemetry, {}, {}});
  EXPECT_EQ(report.clock_error_ns, 700);
}

TEST(Gap, AVcpuThatHasNotSteppedYetTellsNothing) {
  auto report = report_with(0);
  auto telemetry = telemetry_of({1'000, 5'000});
  telemetry.vcpus[1].first_step_ns = 0;
  add_target(report, {}, {telemetry, {}, {}});
  EXPECT_EQ(report.guest_gap_ns, 1'000);
}

TEST(Gap, MustFitTheDowntime) {
  struct Case {
    std::int64_t gap_ns, mean_step_ns;
    bool warns;
  };
  for (const auto& [gap_ns, mean_step_ns, warns] :
       {Case{3'999'999, 0, true},   // shorter than the downtime
        Case{4'200'000, 0, false},  // two steps
        Case{4'200'001, 0, true},
        Case{4'600'000, 300'000, false}}) {
    auto report = report_with(4'000'000);
    ReportAnswer source;
    source.mean_step_ns = mean_step_ns;
    add_target(report, source, {telemetry_of({gap_ns}), {}, {}});
    EXPECT_EQ(report.warnings.size(), warns ? 1U : 0U) << gap_ns;
  }
  auto report = report_with(4'000'000);
  add_target(report, {}, {telemetry_of({3'000'000}), {}, {}});
  EXPECT_EQ(report.warnings.at(0),
            "guest_gap_ns - downtime_ns is -1000000 ns; 0 to 200000 ns (two steps and the first "
            "step's faults) were expected");
}

SweepAnswer swept(std::uint64_t expected,
                  std::uint64_t checked,
                  std::uint64_t mismatches,
                  const std::string& error) {
  SweepAnswer answer;
  answer.sweep = {expected, checked, mismatches, 3};
  answer.telemetry.guest_errors = error.empty() ? 0 : 1;
  answer.telemetry.first_error = error;
  return answer;
}

TEST(Sweep, NamesTheDamage) {
  struct Case {
    SweepAnswer answer;
    std::uint64_t mismatches;
    const char* error;
  };
  for (const auto& [answer, mismatches, error] :
       {Case{swept(10, 10, 0, ""), 0, ""},
        Case{swept(10, 10, 2, ""), 2, "2 pages are damaged, the first is page 3"},
        Case{swept(10, 10, 2, "page 7"),
             2,
             "2 pages are damaged, the first is page 3; the guest's first error: page 7"},
        Case{swept(10, 10, 0, "r12 is lost"), 0, "r12 is lost"},
        Case{swept(10, 8, 0, ""), 2, "the sweep left pages out"}}) {
    auto report = report_with(0);
    add_sweep(report, answer);
    EXPECT_EQ(report.verified.mismatches, mismatches);
    EXPECT_EQ(report.error ? report.error->error.message() : "", error);
    if (report.error) {
      EXPECT_EQ(report.error->side, "target");
      EXPECT_EQ(report.error->phase, "verification");
      EXPECT_EQ(report.error->error.code, ErrorCode::kGuest);
    }
  }
}

TEST(Sweep, DoesNotHideWhatEndedTheMigration) {
  Report report;
  report.error = {make_error(ErrorCode::kClosed, "", "the link broke"), "source", "rounds"};
  add_sweep(report, swept(10, 10, 1, ""));
  EXPECT_EQ(report.error->error.message(), "the link broke");
  EXPECT_EQ(report.verified.mismatches, 1U);
}

}  // namespace
}  // namespace godwit::app
