#include "report/trace_json.h"

#include <gtest/gtest.h>

#include "godwit/base/clock.h"

#include "support/trace_shape.h"

namespace godwit::app {
namespace {

using test::expect_trace_shape;
using test::slice_named;
using test::slices_of;

constexpr std::int64_t kMs = 1'000'000;

/// A hybrid migration that began at 1 s: two rounds, a blackout of 21 ms, post-copy.
engine::MigrationReport completed() {
  engine::MigrationReport report;
  report.outcome = engine::Outcome::kCompleted;
  report.trace.began_ns = 1000 * kMs;
  report.trace.precopy_began_ns = 1010 * kMs;
  report.trace.ended_ns = 1200 * kMs;
  report.trace.target_clock.known = true;
  report.trace.states = {{"connecting", 1000 * kMs},
                         {"precopy", 1010 * kMs},
                         {"quiesce", 1100 * kMs},
                         {"postcopy", 1122 * kMs},
                         {"completed", 1200 * kMs}};
  report.rounds = {
      {.pages = 100, .bytes = 400'000, .began_ns = 1011 * kMs, .ns = 50 * kMs, .dirtied_pages = 10},
      {.pages = 10, .bytes = 40'000, .began_ns = 1061 * kMs, .ns = 0, .dirtied_pages = 3}};
  report.stopped.last_ns = 1100 * kMs + 7;  // no whole microsecond
  report.parts = {.quiesce = 1 * kMs,
                  .final_sync = 2 * kMs,
                  .state_save = 3 * kMs,
                  .state_transfer = 4 * kMs + 1,
                  .state_load = 5 * kMs,
                  .resume = 6 * kMs};
  report.downtime_ns = 21 * kMs + 1;
  return report;
}

engine::TargetTrace target() {
  engine::TargetTrace trace;
  trace.states = {{"negotiating", 1001 * kMs}, {"running", 1115 * kMs}, {"completed", 1199 * kMs}};
  trace.load_began_ns = 1106 * kMs;
  trace.load_ended_ns = 1111 * kMs;
  trace.run_began_ns = 1115 * kMs;
  trace.run_ended_ns = 1130 * kMs;
  trace.first_run_ns = 1121 * kMs;
  trace.ended_ns = 1200 * kMs;
  return trace;
}

TEST(SourceTraceJson, ShowsPhasesRoundsAndTheBlackoutsParts) {
  const auto trace = source_trace_json(completed(), {});
  expect_trace_shape(trace);
  const auto course = slices_of(trace, 1, "migration");
  const auto setup = slice_named(course, "setup");
  const auto precopy = slice_named(course, "precopy");
  const auto blackout = slice_named(course, "blackout");
  const auto postcopy = slice_named(course, "postcopy");
  EXPECT_DOUBLE_EQ(setup.began, 1'000'000.0) << "microseconds of the clock itself";
  EXPECT_DOUBLE_EQ(setup.ended, precopy.began);
  EXPECT_DOUBLE_EQ(precopy.ended, blackout.began);
  EXPECT_NEAR(blackout.ended, postcopy.began, test::kTraceRoundingUs);
  EXPECT_NEAR(blackout.length(), 21'000.001, test::kTraceRoundingUs);
  double parts = 0;
  for (const char* part :
       {"quiesce", "final_sync", "state_save", "state_transfer", "state_load", "resume"}) {
    const auto slice = slice_named(course, part);
    EXPECT_TRUE(blackout.holds(slice)) << part;
    parts += slice.length();
  }
  EXPECT_NEAR(parts, blackout.length(), 6 * test::kTraceRoundingUs);
  const auto round = slice_named(course, "round 1");
  EXPECT_TRUE(precopy.holds(round));
  EXPECT_EQ(round.arguments["pages"], 100);
  EXPECT_EQ(round.arguments["bytes"], 400'000);
  EXPECT_DOUBLE_EQ(round.arguments["dirtied_pages_per_s"].get<double>(), 200.0);
  EXPECT_EQ(slice_named(course, "round 2").arguments["dirtied_pages_per_s"].get<double>(), 0.0);
}

TEST(SourceTraceJson, StatesLastUntilTheNext) {
  const auto states = slices_of(source_trace_json(completed(), {}), 1, "state machine");
  ASSERT_EQ(states.size(), 5U);
  EXPECT_EQ(states[1].name, "precopy");
  EXPECT_DOUBLE_EQ(states[1].ended, states[2].began);
  EXPECT_DOUBLE_EQ(states[4].length(), 0.0);
}

TEST(SourceTraceJson, SamplesBecomeCounters) {
  const auto trace =
      source_trace_json(completed(), {{1020 * kMs, 4096, 99}, {1030 * kMs, 8192, 98}});
  expect_trace_shape(trace);
  std::vector<std::uint64_t> sent;
  std::vector<std::uint64_t> left;
  for (const auto& event : trace["traceEvents"]) {
    if (event["name"] == "bytes sent") {
      sent.push_back(event["args"]["bytes"]);
    } else if (event["name"] == "pages remaining") {
      left.push_back(event["args"]["pages"]);
    }
  }
  EXPECT_EQ(sent, (std::vector<std::uint64_t>{4096, 8192}));
  EXPECT_EQ(left, (std::vector<std::uint64_t>{99, 98}));
}

TEST(SourceTraceJson, AMigrationThatFailedShowsHowFarItCame) {
  auto report = completed();
  report.outcome = engine::Outcome::kFailed;
  report.downtime_ns = 0;
  report.parts = {};
  const auto trace = source_trace_json(report, {});
  expect_trace_shape(trace);
  const auto course = slices_of(trace, 1, "migration");
  EXPECT_DOUBLE_EQ(slice_named(course, "precopy").ended, 1'200'000.0);
  EXPECT_EQ(course.size(), 4U) << "setup, precopy and two rounds";

  report.trace.precopy_began_ns = 0;
  report.rounds.clear();
  const auto early = slices_of(source_trace_json(report, {}), 1, "migration");
  ASSERT_EQ(early.size(), 1U);
  EXPECT_DOUBLE_EQ(slice_named(early, "setup").ended, 1'200'000.0);
}

TEST(SourceTraceJson, KeepsTheFirstRoundsAndSaysHowManyItDropped) {
  auto report = completed();
  report.rounds.clear();
  for (std::size_t i = 0; i < kTraceRounds + 7; ++i) {
    report.rounds.push_back({.began_ns = 1011 * kMs + static_cast<std::int64_t>(i)});
  }
  const auto trace = source_trace_json(report, {});
  EXPECT_EQ(trace["otherData"]["source"]["rounds_dropped"], 7);
  slice_named(slices_of(trace, 1, "migration"), "round 20000");
}

TEST(TargetTraceJson, ResumeEndsWithTheFirstGuestInstruction) {
  auto figures = target();
  const auto trace = target_trace_json(figures);
  expect_trace_shape(trace);
  EXPECT_DOUBLE_EQ(slice_named(slices_of(trace, 2, "guest"), "resume").ended, 1'121'000.0);
  EXPECT_DOUBLE_EQ(slice_named(slices_of(trace, 2, "guest"), "state_load").length(), 5'000.0);
  figures.first_run_ns = 0;  // ended before it was known
  EXPECT_DOUBLE_EQ(slice_named(slices_of(target_trace_json(figures), 2, "guest"), "resume").ended,
                   1'130'000.0);
}

TEST(TargetTraceJson, FaultsThatAreOpenAtOnceHaveTracksOfTheirOwn) {
  auto figures = target();
  figures.faults = {{{0, 1}, 1130 * kMs, 1132 * kMs},
                    {{0, 2}, 1130 * kMs, 1131 * kMs},
                    {{1, 3}, 1131 * kMs, 1133 * kMs},   // touches the second's end: a third track
                    {{0, 4}, 1140 * kMs, 1140 * kMs}};  // all tracks are free again
  figures.faults_dropped = 5;
  const auto trace = target_trace_json(figures);
  expect_trace_shape(trace);
  const auto faults = slices_of(trace, 2, "faults");
  ASSERT_EQ(faults.size(), 4U);
  EXPECT_EQ(faults[2].arguments["region"], 1);
  EXPECT_EQ(faults[2].arguments["page"], 3);
  EXPECT_EQ(slices_of(trace, 2, "faults, 3 at once").size(), 1U);
  EXPECT_EQ(slices_of(trace, 2, "faults, 4").size(), 0U);
  EXPECT_EQ(trace["otherData"]["target"]["faults_shown"], 4);
  EXPECT_EQ(trace["otherData"]["target"]["faults_dropped"], 5);
}

TEST(TargetTraceJson, AnAttemptThatEndedAtOnceHasItsShapeToo) {
  engine::TargetTrace trace;
  trace.states = {{"negotiating", 5}, {"failed", 9}};
  trace.ended_ns = 12;
  const auto json = target_trace_json(trace);
  expect_trace_shape(json);
  EXPECT_TRUE(slices_of(json, 2, "guest").empty());
}

TEST(MergeTraces, OneClockLeavesTheMomentsAlone) {
  const auto merged = merge_traces(source_trace_json(completed(), {}), target_trace_json(target()));
  expect_trace_shape(merged);
  const auto blackout = slice_named(slices_of(merged, 1, "migration"), "blackout");
  EXPECT_TRUE(blackout.holds(slice_named(slices_of(merged, 2, "guest"), "resume")));
  EXPECT_EQ(merged["otherData"]["source"]["boot_id"], boot_id());
  EXPECT_EQ(merged["otherData"]["target"]["boot_id"], boot_id());
}

TEST(MergeTraces, TheTargetsEventsMoveToTheSourcesClock) {
  auto report = completed();
  report.trace.target_clock = {.known = true, .ahead_ns = 300 * kMs, .error_ns = kMs};
  const auto source = source_trace_json(report, {});
  const auto merged = merge_traces(source, target_trace_json(target()));
  expect_trace_shape(merged);
  EXPECT_DOUBLE_EQ(slice_named(slices_of(merged, 2, "guest"), "resume").ended, 821'000.0);
  EXPECT_EQ(merged["otherData"]["source"]["target_clock"]["error_ns"], kMs);
}

TEST(MergeTraces, ASideMayBeMissing) {
  const auto source = source_trace_json(completed(), {});
  EXPECT_EQ(merge_traces(source, Json::object()), source);
}

TEST(ProgressSamples, ThinOutInsteadOfGrowing) {
  ProgressSamples samples;
  constexpr std::uint64_t kOffered = 10 * ProgressSamples::kMost;
  for (std::uint64_t i = 0; i < kOffered; ++i) {
    samples.add({.at_ns = static_cast<std::int64_t>(i), .sent_bytes = i, .remaining_pages = 0});
  }
  const auto& taken = samples.taken();
  ASSERT_LE(taken.size(), ProgressSamples::kMost);
  ASSERT_GT(taken.size(), ProgressSamples::kMost / 4);
  EXPECT_EQ(taken.front().sent_bytes, 0U);
  const auto step = taken[1].sent_bytes;
  for (std::size_t i = 1; i < taken.size(); ++i) {
    EXPECT_EQ(taken[i].sent_bytes - taken[i - 1].sent_bytes, step);
  }
  EXPECT_GE(taken.back().sent_bytes + step, kOffered);
}

}  // namespace
}  // namespace godwit::app
