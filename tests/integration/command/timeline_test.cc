// What --timeline adds to a report: the guest's throughput through its whole migration, by both
// kinds of guest, and by the source alone.

#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "support/command/command.h"
#include "support/command/guest_under_test.h"
#include "support/require_kvm.h"

namespace godwit::test {
namespace {

constexpr std::int64_t kInterval = 10'000'000;

struct Timeline {
  explicit Timeline(const Json& report)
      : start_ns(report["timeline"]["start_ns"].get<std::int64_t>()),
        touches(report["timeline"]["touches"].get<std::vector<std::uint64_t>>()) {
    EXPECT_EQ(report["timeline"]["interval_ns"], kInterval);
    // Intervals are cut by the clock and not by the migration.
    EXPECT_LE(start_ns, -200'000'000);
    EXPECT_GT(start_ns, -200'000'000 - kInterval);
  }
  [[nodiscard]] std::int64_t end_ns() const {
    return start_ns + static_cast<std::int64_t>(touches.size()) * kInterval;
  }
  /// Of the intervals that lie between two moments.
  [[nodiscard]] std::vector<std::uint64_t> within(std::int64_t from_ns, std::int64_t to_ns) const {
    std::vector<std::uint64_t> out;
    for (std::size_t i = 0; i < touches.size(); ++i) {
      const auto at = start_ns + static_cast<std::int64_t>(i) * kInterval;
      if (at >= from_ns && at + kInterval <= to_ns) {
        out.push_back(touches[i]);
      }
    }
    return out;
  }
  [[nodiscard]] std::uint64_t sum(std::int64_t from_ns, std::int64_t to_ns) const {
    const auto some = within(from_ns, to_ns);
    return std::accumulate(some.begin(), some.end(), std::uint64_t{0});
  }

  std::int64_t start_ns;
  std::vector<std::uint64_t> touches;
};

class EveryGuest : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (std::string(GetParam()) == "kvm") {
      GODWIT_NEED_KVM();
    }
  }
};
INSTANTIATE_TEST_SUITE_P(Timeline,
                         EveryGuest,
                         testing::Values("kvm", "process"),
                         [](const auto& one) { return std::string(one.param); });

TEST_P(EveryGuest, ShowsTheBlackoutAsAValley) {
  const auto ran = run(
      fmt::format("demo --json --guest {} --memory 64MiB --working-set 8MiB --workload zipf-write "
                  "--rate 16MiB --timeline --inject blackout-delay=150ms",
                  GetParam()));
  ASSERT_EQ(ran.code, 0) << ran.all();
  const auto& report = ran.json;
  const Timeline timeline(report);
  const auto& phases = report["phases"];
  ASSERT_EQ(phases.size(), 3U);
  EXPECT_EQ(phases[0]["name"], "precopy");
  EXPECT_EQ(phases[1]["name"], "blackout");
  EXPECT_EQ(phases[2]["name"], "postcopy");
  EXPECT_EQ(phases[0]["start_ns"], report["setup_ns"]);
  EXPECT_EQ(phases[1]["start_ns"], phases[0]["end_ns"]);
  EXPECT_EQ(phases[2]["start_ns"], phases[1]["end_ns"]);
  EXPECT_EQ(phases[2]["end_ns"], report["total_ns"]);
  const auto stop = phases[1]["start_ns"].get<std::int64_t>();
  const auto go = phases[1]["end_ns"].get<std::int64_t>();
  const auto standing = timeline.within(stop, go);
  EXPECT_GE(standing.size(), 13U);
  for (const auto count : standing) {
    EXPECT_EQ(count, 0U) << "a touch while the guest was stopped";
  }
  EXPECT_EQ(report["valley"], 0.0);
  const auto total = report["total_ns"].get<std::int64_t>();
  EXPECT_GE(timeline.end_ns(), total + 1'000'000'000);
  // 16 MiB/s are 41 touches in 10 ms; never much more, and how much less is up to the machine.
  EXPECT_GT(timeline.sum(timeline.start_ns, 0), 100U);
  EXPECT_LT(timeline.sum(timeline.start_ns, 0), 2000U);
  EXPECT_GT(timeline.sum(go, timeline.end_ns()), 500U);
  EXPECT_LT(timeline.sum(go, total + 1'000'000'000), 8000U + 41U * (total - go) / kInterval);
  if (report["recovery_ns"].is_number()) {
    EXPECT_GE(report["recovery_ns"].get<std::int64_t>(), 0);
    EXPECT_LT(report["recovery_ns"].get<std::int64_t>(), timeline.end_ns() - go);
  }
}

TEST_P(EveryGuest, AnIdleGuestCountsItsSteps) {
  const auto ran = run(fmt::format("demo --json --guest {} --memory 32MiB --timeline", GetParam()));
  ASSERT_EQ(ran.code, 0) << ran.all();
  const Timeline timeline(ran.json);
  const auto seen = timeline.sum(timeline.start_ns, timeline.end_ns());
  const auto lasted_ms =
      static_cast<std::uint64_t>(timeline.end_ns() - timeline.start_ns) / 1'000'000;
  EXPECT_LE(seen, lasted_ms + 20) << "a step sleeps for a millisecond";
  EXPECT_GT(seen, 20U);
  EXPECT_LE(seen, ran.json["guest"]["steps"].get<std::uint64_t>());
}

TEST(Report, HasNoTimelineUnlessAsked) {
  const auto ran = run("demo --json --guest process --memory 32MiB --workload random-write");
  ASSERT_EQ(ran.code, 0) << ran.all();
  for (const auto* member : {"timeline", "phases", "recovery_ns", "valley"}) {
    EXPECT_FALSE(ran.json.contains(member)) << member;
  }
}

TEST(Report, BucketsHoldAllFaults) {
  const auto ran =
      run("demo --json --guest process --memory 64MiB --workload random-write --mode postcopy");
  ASSERT_EQ(ran.code, 0) << ran.all();
  for (const auto* member : {"faults", "guest_faults"}) {
    const auto& faults = ran.json[member];
    std::uint64_t count = 0;
    std::uint64_t last = 0;
    for (const auto& bucket : faults["buckets"]) {
      ASSERT_EQ(bucket.size(), 2U);
      EXPECT_GT(bucket[0].get<std::uint64_t>(), last) << "in order";
      last = bucket[0].get<std::uint64_t>();
      EXPECT_GT(bucket[1].get<std::uint64_t>(), 0U);
      count += bucket[1].get<std::uint64_t>();
    }
    EXPECT_GT(count, 0U) << member;
    EXPECT_EQ(count, faults["count"]);
    EXPECT_EQ(last, faults["max_ns"]);
  }
}

class SourceAlone : public testing::Test {
 protected:
  void TearDown() override { nothing_is_left(directory_); }
  TemporaryDirectory directory_;
};

TEST_F(SourceAlone, SeesTheGuestUntilItMoves) {
  GuestUnderTest guest(directory_);
  Receiver target(directory_, "target");
  const auto ran = guest.migrate(target.address(), "--timeline");
  ASSERT_EQ(ran.code, 0) << ran.all();
  const Timeline timeline(ran.json);
  const auto stop = ran.json["phases"][1]["start_ns"].get<std::int64_t>();
  EXPECT_GT(timeline.end_ns(), stop);
  EXPECT_LE(timeline.end_ns(), stop + kInterval);
  EXPECT_GT(timeline.sum(timeline.start_ns, 0), 0U);
  EXPECT_TRUE(ran.json["recovery_ns"].is_null()) << "the target's is not known here";
  EXPECT_TRUE(ran.json["valley"].is_null());
  EXPECT_EQ(guest.process().wait(), 0);
  target.stop();
}

TEST_F(SourceAlone, SeesAGuestThatStays) {
  GuestUnderTest guest(directory_);
  Receiver target(directory_, "target");
  Process migration(guest.migrate_line(
      target.address(), "--timeline --mode precopy --max-bandwidth 4MiB --max-rounds 2"));
  EXPECT_TRUE(eventually([&] { return guest.status().value("phase", "") == "precopy"; }));
  EXPECT_EQ(run("cancel --control " + guest.control()).code, 0);
  const auto ran = outcome_of(migration);
  ASSERT_EQ(ran.code, 1) << ran.all();
  const Timeline timeline(ran.json);
  EXPECT_GT(timeline.end_ns(), 0);
  EXPECT_TRUE(ran.json["recovery_ns"].is_null()) << "it has not moved";
  ASSERT_EQ(ran.json["phases"].size(), 1U);
  EXPECT_EQ(ran.json["phases"][0]["name"], "precopy");
  EXPECT_TRUE(eventually([&] { return target.waits(); }));
  guest.goes_on_and_leaves(&target);
}

}  // namespace
}  // namespace godwit::test
