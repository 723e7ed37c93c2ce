#include "report/report.h"

#include <gtest/gtest.h>

#include "report/report_json.h"
#include "report/report_text.h"

namespace godwit::app {
namespace {

/// A report in which every member is set.
Report full_report() {
  ReportInput input;
  auto& migration = input.migration;
  migration.outcome = engine::Outcome::kCompleted;
  migration.total_ns = 4'000'000'000;
  migration.setup_ns = 1'000'000;
  migration.precopy_ns = 3'000'000'000;
  migration.downtime_ns = 2'340'000;
  migration.postcopy_ns = 996'660'000;
  migration.parts = {1'000, 2'000, 3'000, 4'000, 5'000, 6'000};
  migration.wire_bytes = 64ULL << 20;
  migration.payload_bytes = 63ULL << 20;
  migration.urgent_bytes = 4096;
  migration.pages_populated = 100;
  migration.pages_sent = 90;
  migration.pages_resent = 8;
  migration.pages_zero = 10;
  migration.pages_demand = 7;
  migration.pages_background = 6;
  migration.rounds = {{.pages = 5, .bytes = 6, .ns = 7, .dirtied_pages = 8}};
  migration.target.faults.record(20'000);
  migration.target.placement = "alias";
  migration.transport = "uring";
  input.settings.planted.fault = PlantedKind::kFlipBit;
  input.migration.planted_page = PageId{0, 3};
  input.config.workload = vmm::Workload::kRandomWrite;
  input.config.memory_bytes = 64ULL << 20;
  input.config.populated_bytes = 32ULL << 20;
  input.telemetry.vcpus.resize(2);
  input.telemetry.vcpus[0] = {.steps = 4, .largest_step_ns = 9'000};
  input.telemetry.vcpus[1] = {.steps = 5, .largest_step_ns = 8'000};
  input.floors = Floors{2e9, 1e9, 30'000, 20'000, 1'000, 5'000'000};
  auto report = source_report(input);
  report.guest_gap_ns = 3'000'000;
  report.clock_error_ns = 1'500;
  report.verified = {8000, 8000, 0, 0};
  report.course = ReportCourse{.timeline = ReportTimeline{10, -20, {1, 2}},
                                 .phases = {{"precopy", 0, 5}},
                                 .recovery_ns = 30'000'000,
                                 .valley = 0.25};
  report.held.emplace();
  report.held->source.emplace().state = "held";
  report.warnings = {"one", "two"};
  return report;
}

TEST(Report, IsFilledByTheSource) {
  const auto report = full_report();
  EXPECT_EQ(report.guest.steps, 9U);
  EXPECT_EQ(report.largest_stall_ns, 9'000);
  EXPECT_EQ(report.planted->kind, "flip-bit");
  EXPECT_EQ(report.planted->page, 3U);
  EXPECT_EQ(report.faults.count, 1U);
  EXPECT_EQ(report.congestion, "auto") << "what was asked for, where TCP says nothing";
}

TEST(Report, IsReadAsItWasWritten) {
  const auto json = report_json(full_report());
  EXPECT_EQ(json_text(report_json(report_of(json))), json_text(json));
  const auto empty = report_json({});
  EXPECT_EQ(json_text(report_json(report_of(empty))), json_text(empty));
}

TEST(Report, MembersThatAreAbsentOrWrongReadAsZero) {
  for (const auto* text : {"{}",
                           "[]",
                           "7",
                           R"({"outcome":7,"error":[],"bytes":7,"rounds":{},"floors":7})",
                           R"({"timeline":{"touches":[1]},"valley":1e300,"recovery_ns":"soon"})"}) {
    const auto report = report_of(parse_json(text));
    EXPECT_EQ(report.outcome, engine::Outcome::kFailed) << text;
    EXPECT_EQ(report.bytes.wire, 0U);
    EXPECT_FALSE(report_text(report).empty());
  }
}

TEST(Report, TheExitCodeIsTheWorstOfWhatItSays) {
  const auto code = [](engine::Outcome outcome, std::uint64_t mismatches, std::uint64_t errors) {
    Report report;
    report.outcome = outcome;
    report.verified.mismatches = mismatches;
    report.verified.guest_errors = errors;
    return exit_code_of(report);
  };
  using engine::Outcome;
  EXPECT_EQ(code(Outcome::kCompleted, 0, 0), 0);
  EXPECT_EQ(code(Outcome::kFailed, 0, 0), 1);
  EXPECT_EQ(code(Outcome::kCancelled, 0, 0), 1);
  EXPECT_EQ(code(Outcome::kCompleted, 1, 0), 4);
  EXPECT_EQ(code(Outcome::kFailed, 0, 1), 4);
  EXPECT_EQ(code(Outcome::kInDoubt, 1, 1), 5);
}

TEST(Report, OfAMigrationThatNeverBeganSaysWhy) {
  MigrationSettings settings;
  settings.timeline = true;
  const auto report =
      failure_report({}, settings, make_error(ErrorCode::kNoMemory, "", "none left"), "start");
  EXPECT_EQ(report.outcome, engine::Outcome::kFailed);
  EXPECT_EQ(report.error->phase, "start");
  const auto json = report_json(report);
  EXPECT_TRUE(json["timeline"].is_null() && json["recovery_ns"].is_null());
  EXPECT_TRUE(json["phases"].is_array());
  EXPECT_EQ(failure_report({}, {}, make_error(ErrorCode::kCancelled, ""), "start").outcome,
            engine::Outcome::kCancelled);
}

TEST(ReportText, ShowsWhatWasMeasured) {
  EXPECT_EQ(
      report_text(full_report()),
      "completed hybrid migration of a process guest: 32.0 MiB of 64.0 MiB populated, "
      "random-write, "
      "1 vCPU(s)\n"
      "  total       4.00 s = setup 1.00 ms + pre-copy 3.00 s + downtime 2.34 ms + post-copy "
      "996.66 "
      "ms\n"
      "  downtime    quiesce 1.0 us, final sync 2.0 us, save 3.0 us, transfer 4.0 us, load 5.0 us, "
      "resume 6.0 us\n"
      "  guest saw   gap 3.00 ms, largest stall 9.0 us, clock off by 1.5 us\n"
      "  throughput  lowest in 10 ms 25 % of before, at 90 % again 30.00 ms after the blackout\n"
      "  bytes       64.0 MiB on the wire at 16.0 MiB/s, 63.0 MiB of pages, 4.0 KiB urgent\n"
      "  pages       100 populated, 90 sent (8 again), 10 zero, 7 on demand, 6 in the background\n"
      "  faults      1 (median 20.0 us, 99 % under 20.0 us, longest 20.0 us)\n"
      "  slow touches 0 (median 0.0 us, 99 % under 0.0 us, longest 0.0 us)\n"
      "  floors      memcpy 1.86 GiB/s, one stream 953.7 MiB/s, 4 KiB round trip 30.0 us, fault "
      "wake "
      "20.0 us, fresh page 1.0 us, largest stall under load 5.00 ms\n"
      "  injected    flip-bit page 3\n"
      "  verified    8000 of 8000 pages checked, 0 wrong, 0 guest errors\n");
}

TEST(ReportText, LeavesOutWhatIsNotKnown) {
  const auto report =
      failure_report({}, {}, make_error(ErrorCode::kNoMemory, "memory", "none left"), "start");
  EXPECT_EQ(
      report_text(report),
      "failed hybrid migration of a process guest: 1.00 GiB of 1.00 GiB populated, idle, 1 "
      "vCPU(s)\n"
      "  error       memory: none left (no-memory, noticed by the source in phase start)\n"
      "  total       0.0 us = setup 0.0 us + pre-copy 0.0 us + downtime 0.0 us + post-copy 0.0 "
      "us\n"
      "  guest saw   largest stall 0.0 us\n"
      "  bytes       0 B on the wire at -, 0 B of pages, 0 B urgent\n"
      "  pages       0 populated, 0 sent (0 again), 0 zero, 0 on demand, 0 in the background\n"
      "  faults      0 (median 0.0 us, 99 % under 0.0 us, longest 0.0 us)\n"
      "  slow touches 0 (median 0.0 us, 99 % under 0.0 us, longest 0.0 us)\n");
}

}  // namespace
}  // namespace godwit::app
