#include "report/timeline.h"

#include <gtest/gtest.h>

namespace godwit::app {
namespace {

constexpr auto kInterval = vmm::Throughput::kIntervalNs;

/// 20 intervals at 100 touches before the migration, which begins with interval 20.
SourceTimeline source_with(std::vector<std::uint64_t> then, std::int64_t blackout_end_ns) {
  SourceTimeline source;
  source.seen.touches.assign(20, 100);
  source.seen.touches.insert(source.seen.touches.end(), then.begin(), then.end());
  source.span = {
      .began_ns = 20 * kInterval, .blackout_end_ns = blackout_end_ns, .ended_ns = 22 * kInterval};
  return source;
}

TEST(Timeline, OfTheSourceAloneKnowsNoValleyOfAGuestThatMoved) {
  Report report;
  report.setup_ns = 5;
  report.precopy_ns = 10;
  report.downtime_ns = 20;
  add_timeline(report, source_with({80, 10}, 21 * kInterval));
  const auto& course = report.course.value();
  EXPECT_EQ(course.timeline->interval_ns, kInterval);
  EXPECT_EQ(course.timeline->start_ns, -20 * kInterval);
  EXPECT_EQ(course.timeline->touches.size(), 22U);
  EXPECT_FALSE(course.valley);
  ASSERT_EQ(course.phases.size(), 2U) << "there was no post-copy";
  EXPECT_EQ(course.phases[0].name, "precopy");
  EXPECT_EQ(course.phases[0].start_ns, 5);
  EXPECT_EQ(course.phases[1].name, "blackout");
  EXPECT_EQ(course.phases[1].end_ns, 35);
}

TEST(Timeline, OfAGuestThatStayedKnowsItsValley) {
  Report report;
  add_timeline(report, source_with({80, 40, 100}, 0));
  EXPECT_DOUBLE_EQ(report.course->valley.value(), 0.4);
}

TEST(Timeline, AddsWhatBothSidesSaw) {
  Report report;
  // The target sees the rest of interval 21 and goes on at full speed.
  vmm::Throughput target{20, {0, 40, 100, 100, 100, 100, 100, 100}};
  add_timeline(report, source_with({80, 10}, 21 * kInterval), target);
  const auto& course = report.course.value();
  EXPECT_EQ(course.timeline->touches.size(), 28U);
  EXPECT_EQ(course.timeline->touches[21], 50U);
  EXPECT_DOUBLE_EQ(course.valley.value(), 0.5);
  EXPECT_TRUE(course.recovery_ns);
}

TEST(Timeline, ThatClaimsMoreThanAGuestKeepsIsCut) {
  Report report;
  vmm::Throughput target;
  target.first = std::int64_t{1} << 40;
  target.touches = {1};
  add_timeline(report, source_with({}, 0), target);
  EXPECT_EQ(report.course->timeline->touches.size(), 65'536U);
}

}  // namespace
}  // namespace godwit::app
