#include "godwit/vmm/throughput.h"

#include <gtest/gtest.h>

namespace godwit::vmm {
namespace {

constexpr std::int64_t kMs = 1'000'000;

/// Twenty intervals of 100 from 0 on, then `rest`; the migration begins at 200 ms.
Throughput after_usual(const std::vector<std::uint64_t>& rest) {
  Throughput out;
  out.touches.assign(20, 100);
  out.touches.insert(out.touches.end(), rest.begin(), rest.end());
  return out;
}

TEST(Throughput, AnIntervalBeginsAtItsEdge) {
  EXPECT_EQ(Throughput::number_of(0), 0);
  EXPECT_EQ(Throughput::number_of(10 * kMs - 1), 0);
  EXPECT_EQ(Throughput::number_of(10 * kMs), 1);
  EXPECT_EQ(Throughput::number_of(-1), -1);
  EXPECT_EQ(Throughput::number_of(-10 * kMs), -1);
}

TEST(Throughput, AddsIntervalsOfTheSameNumber) {
  Throughput all{10, {0, 0, 0, 0}};
  all.add({9, {7, 1, 2}});
  all.add({11, {10, 20, 30, 40}});
  all.add({2, {5}});
  EXPECT_EQ(all.touches, (std::vector<std::uint64_t>{1, 12, 20, 30}));
  EXPECT_EQ(all.first, 10);
  EXPECT_EQ(all.at(9), 0U);
  EXPECT_EQ(all.at(12), 20U);
  EXPECT_EQ(all.at(14), 0U);
}

TEST(ThroughputFigures, RecoveryIsWhereItStays) {
  // The blackout ends in the interval of 5; a single good interval is no recovery.
  const auto throughput = after_usual({80, 0, 5, 95, 40, 90, 90, 91, 200, 90, 10});
  const auto figures = figures_of(throughput, {200 * kMs, 227 * kMs, 240 * kMs});
  ASSERT_TRUE(figures.recovery_ns);
  EXPECT_EQ(*figures.recovery_ns, 250 * kMs - 227 * kMs);
  ASSERT_TRUE(figures.valley);
  EXPECT_DOUBLE_EQ(*figures.valley, 0.0);
}

TEST(ThroughputFigures, OneStepFewerIsAsBeforeForAnIdleGuest) {
  Throughput throughput{0, std::vector<std::uint64_t>(20, 9)};
  throughput.touches.insert(throughput.touches.end(), {0, 7, 8, 9, 8, 8, 9});
  const auto figures = figures_of(throughput, {200 * kMs, 205 * kMs, 206 * kMs});
  ASSERT_TRUE(figures.recovery_ns);
  EXPECT_EQ(*figures.recovery_ns, 15 * kMs);
  throughput.touches.assign(20, 1);
  throughput.touches.insert(throughput.touches.end(), 10, 0);
  EXPECT_FALSE(figures_of(throughput, {200 * kMs, 205 * kMs, 206 * kMs}).recovery_ns)
      << "nothing is not one short of one";
}

TEST(ThroughputFigures, ABlackoutThatIsHardlySeenIsOverAtOnce) {
  const auto throughput = after_usual({100, 92, 99, 100, 100, 100});
  const auto figures = figures_of(throughput, {200 * kMs, 217 * kMs, 219 * kMs});
  ASSERT_TRUE(figures.recovery_ns);
  EXPECT_EQ(*figures.recovery_ns, 0);
  EXPECT_DOUBLE_EQ(*figures.valley, 0.92);
}

TEST(ThroughputFigures, WhatIsNotReachedIsLeftOut) {
  const MigrationSpan span{200 * kMs, 217 * kMs, 229 * kMs};
  EXPECT_FALSE(figures_of(after_usual({100, 0, 50, 90, 90, 90, 90}), span).recovery_ns)
      << "40 ms of 50";
  EXPECT_FALSE(figures_of(after_usual({100, 0, 50, 89, 89, 89, 89, 89, 89}), span).recovery_ns);
  auto failed = span;
  failed.blackout_end_ns = 0;
  const auto figures = figures_of(after_usual(std::vector<std::uint64_t>(9, 100)), failed);
  EXPECT_FALSE(figures.recovery_ns) << "the guest has not moved";
  EXPECT_DOUBLE_EQ(*figures.valley, 1.0);
}

TEST(ThroughputFigures, TheValleyLiesWithinTheMigration) {
  const std::vector<std::uint64_t> rest{70, 60, 30, 5, 100, 100, 100, 100};
  EXPECT_DOUBLE_EQ(*figures_of(after_usual(rest), {200 * kMs, 217 * kMs, 229'999'999}).valley, 0.3);
  EXPECT_DOUBLE_EQ(*figures_of(after_usual(rest), {200 * kMs, 217 * kMs, 230 * kMs}).valley, 0.05);
  EXPECT_FALSE(figures_of(after_usual({70, 60}), {200 * kMs, 217 * kMs, 220 * kMs}).valley)
      << "the source alone does not see the end";
}

TEST(ThroughputFigures, TooLittleBeforeTellsNothing) {
  const MigrationSpan span{40 * kMs, 50 * kMs, 60 * kMs};
  Throughput throughput{0, std::vector<std::uint64_t>(30, 100)};
  EXPECT_FALSE(figures_of(throughput, span).recovery_ns) << "four intervals";
  EXPECT_FALSE(figures_of(throughput, span).valley);
  throughput.first = -1;
  EXPECT_TRUE(figures_of(throughput, span).recovery_ns) << "five";
  EXPECT_TRUE(figures_of(throughput, span).valley);
  throughput.touches.assign(30, 0);
  EXPECT_FALSE(figures_of(throughput, span).recovery_ns) << "the guest did nothing before";
  EXPECT_FALSE(figures_of(throughput, span).valley);
}

TEST(ThroughputFigures, AnOutlierBeforeDoesNotMoveTheMedian) {
  auto throughput = after_usual({100, 100, 100, 100, 100, 100});
  throughput.touches[3] = 100'000;
  throughput.touches[4] = 0;
  EXPECT_DOUBLE_EQ(*figures_of(throughput, {200 * kMs, 205 * kMs, 210 * kMs}).valley, 1.0);
}

}  // namespace
}  // namespace godwit::vmm
