// --trace: the timeline as a viewer gets it, against the report of the same migration.

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <ostream>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/command/guest_under_test.h"
#include "support/require_kvm.h"
#include "support/trace_shape.h"

namespace godwit::test {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kFaultsShown = 20'000;

Json parse_file(const std::string& path) {
  return parse_json(file_text(path));
}

double us(const Json& ns) {
  return ns.get<double>() / 1000;
}

/// The states in order, without those between.
void expect_order(const std::vector<Slice>& slices, const std::vector<std::string>& names) {
  auto at = slices.begin();
  for (const auto& name : names) {
    at = std::find_if(at, slices.end(), [&](const Slice& slice) { return slice.name == name; });
    ASSERT_NE(at, slices.end()) << name << " is missing, or too early";
  }
}

void expect_source_as_reported(const Json& trace, const Json& report) {
  const auto course = slices_of(trace, 1, "migration");
  const auto setup = slice_named(course, "setup");
  const auto precopy = slice_named(course, "precopy");
  const auto blackout = slice_named(course, "blackout");
  const auto postcopy = slice_named(course, "postcopy");
  EXPECT_NEAR(setup.length(), us(report["setup_ns"]), kTraceRoundingUs);
  EXPECT_NEAR(precopy.length(), us(report["precopy_ns"]), kTraceRoundingUs);
  EXPECT_NEAR(blackout.length(), us(report["downtime_ns"]), kTraceRoundingUs);
  EXPECT_NEAR(postcopy.length(), us(report["postcopy_ns"]), kTraceRoundingUs);
  double parts = 0;
  for (const auto& [name, ns] : report["downtime_parts_ns"].items()) {
    const auto part = slice_named(course, name);
    EXPECT_NEAR(part.length(), us(ns), kTraceRoundingUs) << name;
    EXPECT_TRUE(blackout.holds(part)) << name;
    parts += part.length();
  }
  EXPECT_NEAR(parts, blackout.length(), 6 * kTraceRoundingUs);
  const auto& rounds = report["rounds"];
  for (std::size_t i = 0; i < rounds.size(); ++i) {
    const auto round = slice_named(course, fmt::format("round {}", i + 1));
    EXPECT_NEAR(round.length(), us(rounds[i]["ns"]), kTraceRoundingUs);
    EXPECT_EQ(round.arguments["pages"], rounds[i]["pages"]);
    EXPECT_EQ(round.arguments["dirtied_pages"], rounds[i]["dirtied_pages"]);
    EXPECT_TRUE(precopy.holds(round) || blackout.holds(round));
  }
  std::uint64_t counters = 0;
  for (const auto& event : trace["traceEvents"]) {
    counters += event["ph"] == "C" ? 1 : 0;
  }
  EXPECT_GT(counters, 0U);
}

void expect_target_fits(const Json& trace, const Json& report) {
  const auto blackout = slice_named(slices_of(trace, 1, "migration"), "blackout");
  const auto postcopy = slice_named(slices_of(trace, 1, "migration"), "postcopy");
  const auto guest = slices_of(trace, 2, "guest");
  const auto& clock = trace["otherData"]["source"]["target_clock"];
  ASSERT_TRUE(clock.is_object()) << "both ran on this machine";
  EXPECT_EQ(clock["ahead_ns"], 0);
  const auto slack = us(clock["error_ns"]) + kTraceRoundingUs;
  EXPECT_TRUE(blackout.holds(slice_named(guest, "state_load"), slack));
  EXPECT_TRUE(blackout.holds(slice_named(guest, "resume"), slack));
  const auto faults = slices_of(trace, 2, "faults");
  const auto count = report["faults"]["count"].get<std::uint64_t>();
  EXPECT_EQ(faults.size(), std::min(count, kFaultsShown));
  EXPECT_EQ(trace["otherData"]["target"]["faults_shown"], faults.size());
  EXPECT_EQ(trace["otherData"]["target"]["faults_dropped"], count - faults.size());
  for (const auto& fault : faults) {
    // A vCPU may fault while it is being started.
    ASSERT_GE(fault.began, slice_named(guest, "resume").began - slack);
    ASSERT_LE(fault.ended, postcopy.ended + slack);
    ASSERT_LE(fault.length(), us(report["faults"]["max_ns"]) + kTraceRoundingUs);
  }
}

struct Timeline {
  std::string mode;
  std::string guest;
  std::string options;
};
void PrintTo(const Timeline& cell, std::ostream* out) {
  *out << cell.mode << " " << cell.guest;
}

class TraceOfDemo : public testing::TestWithParam<Timeline> {};

TEST_P(TraceOfDemo, TellsWhatTheReportTells) {
  const auto& cell = GetParam();
  if (cell.guest == "kvm") {
    GODWIT_NEED_KVM();
  }
  const TemporaryDirectory directory;
  const auto path = directory.at("trace.json");
  const auto ran = run(fmt::format(
      "demo --json --guest {} --mode {} --trace {} {}", cell.guest, cell.mode, path, cell.options));
  ASSERT_EQ(ran.code, 0) << ran.all();
  const auto trace = parse_file(path);
  ASSERT_FALSE(trace.is_discarded());
  expect_trace_shape(trace);
  expect_source_as_reported(trace, ran.json);
  expect_target_fits(trace, ran.json);

  const bool postcopy = cell.mode == "hybrid" || cell.mode == "postcopy";
  expect_order(slices_of(trace, 1, "state machine"),
               postcopy ? std::vector<std::string>{"connecting",
                                                   "negotiating",
                                                   "setup",
                                                   "precopy",
                                                   "barrier",
                                                   "quiesce",
                                                   "state-transfer",
                                                   "handover",
                                                   "postcopy",
                                                   "completed"}
                        : std::vector<std::string>{"connecting",
                                                   "precopy",
                                                   "final-quiesce",
                                                   "final-round",
                                                   "final-barrier",
                                                   "completed"});
  expect_order(slices_of(trace, 2, "state machine"),
               {"negotiating", "setup", "receiving", "loading", "ready", "running", "completed"});
  expect_order(slices_of(trace, 1, "migration"), {"setup", "precopy", "blackout", "postcopy"});
  ASSERT_EQ(directory.names().size(), 1U) << "the file alone is left";
}

INSTANTIATE_TEST_SUITE_P(
    Modes,
    TraceOfDemo,
    testing::Values(
        Timeline{"hybrid", "process", "--memory 64MiB --workload random-write --vcpus 2"},
        Timeline{"postcopy", "process", "--memory 64MiB --workload random-write --vcpus 2"},
        Timeline{"hybrid", "kvm", "--memory 64MiB --workload random-write --vcpus 2"},
        Timeline{"postcopy", "kvm", "--memory 64MiB --workload random-write --channels 2"},
        Timeline{"precopy", "process", "--memory 64MiB --workload random-write --rate 4MiB"},
        Timeline{"stop-and-copy", "process", "--memory 64MiB"},
        // Nearly every page is asked for by a fault: more of them than are shown.
        Timeline{"postcopy",
                 "process",
                 "--memory 96MiB --working-set 92MiB --workload sequential-write --vcpus 2 "
                 "--max-bandwidth 4MiB"}),
    [](const auto& cell) {
      auto name = fmt::format("{}_{}_{}", cell.index, cell.param.mode, cell.param.guest);
      std::replace(name.begin(), name.end(), '-', '_');
      return name;
    });

TEST(Trace, NothingIsWrittenUnlessAsked) {
  const TemporaryDirectory directory;
  const auto before = fs::current_path();
  fs::current_path(directory.at(""));
  const auto ran = run("demo --json --guest process --memory 16MiB");
  EXPECT_EQ(ran.code, 0) << ran.all();
  EXPECT_THAT(directory.names(), testing::IsEmpty());
  // A relative path is the caller's.
  EXPECT_EQ(run("demo --json --guest process --memory 16MiB --trace here.json").code, 0);
  EXPECT_THAT(directory.names(), testing::ElementsAre("here.json"));
  fs::current_path(before);
}

TEST(Trace, AWrongPathEndsADemoBeforeAnythingMigrates) {
  for (const char* path : {"/no/such/directory/trace", "/dev/null", "/tmp"}) {
    const auto ran =
        run(fmt::format("demo --json --guest process --memory 16MiB --trace {}", path));
    EXPECT_EQ(ran.code, 3) << ran.all();
    EXPECT_EQ(ran.error("phase"), "start") << ran.all();
    EXPECT_THAT(ran.err, testing::HasSubstr("--trace"));
    EXPECT_THAT(ran.err, testing::Not(testing::HasSubstr("filling"))) << "no guest was started";
  }
  EXPECT_EQ(run("demo --trace=").code, 2);
}

TEST(Trace, AMigrationThatFailsHasItsTimelineToo) {
  const TemporaryDirectory directory;
  const auto path = directory.at("trace.json");
  const auto ran = run(fmt::format(
      "demo --json --guest process --memory 64MiB --inject cut-before-commit --trace {}", path));
  EXPECT_EQ(ran.code, 1) << ran.all();
  const auto trace = parse_file(path);
  expect_trace_shape(trace);
  expect_order(slices_of(trace, 1, "state machine"), {"precopy", "state-transfer", "rolled-back"});
  expect_order(slices_of(trace, 2, "state machine"), {"receiving", "ready"});
  EXPECT_EQ(slice_named(slices_of(trace, 1, "migration"), "setup").name, "setup");
}

TEST(Trace, AReceiverThatListensAgainKeepsTheTraceOfTheAttemptThatFailed) {
  const TemporaryDirectory directory;
  {
    Receiver receiver(directory, "target", fmt::format("--trace {}", directory.at("target.json")));
    ASSERT_TRUE(receiver.listens()) << receiver.process().err();
    GuestUnderTest guest(directory);
    Process migration(guest.migrate_line(receiver.address(),
                                         "--mode precopy --max-bandwidth 4MiB --max-rounds 2"));
    EXPECT_TRUE(eventually([&] { return guest.status().value("phase", "") == "precopy"; }));
    EXPECT_EQ(run("cancel --control " + guest.control()).code, 0);
    EXPECT_EQ(outcome_of(migration).code, 1);
    EXPECT_TRUE(eventually([&] { return receiver.waits(); }));
    receiver.stop();
    guest.goes_on_and_leaves();
  }
  const auto trace = parse_file(directory.at("target.json"));
  expect_order(slices_of(trace, 2, "state machine"), {"negotiating", "receiving"});
}

TEST(Trace, EachSideWritesItsOwnAndTheTwoAreOneTimeline) {
  const TemporaryDirectory directory;
  {
    Receiver receiver(directory, "target", fmt::format("--trace {}", directory.at("target.json")));
    ASSERT_TRUE(receiver.listens()) << receiver.process().err();
    GuestUnderTest guest(directory);
    const auto wrong = guest.migrate(receiver.address(), "--trace /no/such/directory/trace");
    EXPECT_EQ(wrong.code, 3) << wrong.all();
    EXPECT_TRUE(receiver.waits()) << "nothing has called there";
    EXPECT_FALSE(fs::exists(directory.at("target.json")));

    const auto ran =
        guest.migrate(receiver.address(), fmt::format("--trace {}", directory.at("source.json")));
    ASSERT_EQ(ran.code, 0) << ran.all();
    ASSERT_TRUE(ask(receiver.control(), "settle").is_object());
    auto trace = parse_file(directory.at("source.json"));
    const auto target = parse_file(directory.at("target.json"));
    expect_trace_shape(trace);
    expect_trace_shape(target);
    expect_source_as_reported(trace, ran.json);
    EXPECT_TRUE(slices_of(trace, 2, "").empty()) << "the source speaks of itself";
    EXPECT_TRUE(slices_of(target, 1, "").empty());

    for (const auto& event : target["traceEvents"]) {
      trace["traceEvents"].push_back(event);
    }
    trace["otherData"]["target"] = target["otherData"]["target"];
    expect_trace_shape(trace);
    expect_target_fits(trace, ran.json);
    EXPECT_EQ(guest.process().wait(), 0);
    receiver.stop();
  }
  EXPECT_THAT(directory.names(), testing::UnorderedElementsAre("source.json", "target.json"));
}

TEST(Trace, AReceiverWithAWrongPathDoesNotListen) {
  const TemporaryDirectory directory;
  const auto ran = run(
      fmt::format("receive --control {} --trace /no/such/directory/trace", directory.at("target")));
  EXPECT_EQ(ran.code, 3) << ran.all();
  EXPECT_EQ(ran.out, "");
}

}  // namespace
}  // namespace godwit::test
