#include "workload/throughput_book.h"

#include <map>

#include <gtest/gtest.h>

#include "godwit/base/random.h"
#include "godwit/vmm/throughput.h"

namespace godwit::vmm {
namespace {

constexpr std::int64_t kInterval = Throughput::kIntervalNs;

TEST(ThroughputBook, IsEmptyAtFirst) {
  const ThroughputBook book;
  EXPECT_EQ(book.at(0), 0U);
  EXPECT_EQ(book.at(5), 0U);
}

TEST(ThroughputBook, AStampAtAnEdgeOpensTheNextInterval) {
  ThroughputBook book;
  book.add(7 * kInterval - 1, 1);
  book.add(7 * kInterval, 10);
  book.add(8 * kInterval - 1, 100);
  book.add(8 * kInterval, 1000);
  EXPECT_EQ(book.at(6), 1U);
  EXPECT_EQ(book.at(7), 110U);
  EXPECT_EQ(book.at(8), 1000U);
}

TEST(ThroughputBook, AGapIsZeroAlsoWhereTheRingWasUsedBefore) {
  ThroughputBook book;
  for (std::int64_t n = 0; n < ThroughputBook::kIntervals; ++n) {
    book.add(n * kInterval, 9);
  }
  const auto later = ThroughputBook::kIntervals + 100;
  book.add(later * kInterval, 5);
  for (auto n = ThroughputBook::kIntervals; n < later; ++n) {
    ASSERT_EQ(book.at(n), 0U) << n;
  }
  EXPECT_EQ(book.at(later), 5U);
  EXPECT_EQ(book.at(later + 1), 0U);
}

TEST(ThroughputBook, KeepsTheLastIntervalsOnly) {
  ThroughputBook book;
  book.add(1000 * kInterval, 1);
  book.add(1001 * kInterval, 2);
  book.add((1000 + ThroughputBook::kIntervals) * kInterval, 3);
  EXPECT_EQ(book.at(1000), 0U) << "forgotten, not taken for the one in its place";
  EXPECT_EQ(book.at(1001), 2U);
  EXPECT_EQ(book.at(1000 + ThroughputBook::kIntervals), 3U);
  book.add(1000 * kInterval, 7);  // too late
  EXPECT_EQ(book.at(1000), 0U);
  EXPECT_EQ(book.at(1000 + ThroughputBook::kIntervals), 3U);
  book.add(1001 * kInterval, 7);  // out of order, but still there
  EXPECT_EQ(book.at(1001), 9U);
}

TEST(ThroughputBook, ALeapOverEverythingLeavesNothingBehind) {
  ThroughputBook book;
  book.add(3 * kInterval, 1);
  book.add((3 + 5 * ThroughputBook::kIntervals) * kInterval, 2);
  EXPECT_EQ(book.at(3), 0U);
  EXPECT_EQ(book.at(3 + 4 * ThroughputBook::kIntervals), 0U);
  EXPECT_EQ(book.at(3 + 5 * ThroughputBook::kIntervals), 2U);
}

TEST(ThroughputBook, AnAbsurdCountStopsAtTheMost) {
  ThroughputBook book;
  book.add(0, ~0ULL);
  book.add(0, ~0ULL);
  EXPECT_EQ(book.at(0), 0xFFFFFFFFU);
}

TEST(ThroughputBook, FollowsAMapOfAllIntervals) {
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    SplitMix64 random(seed);
    ThroughputBook book;
    std::map<std::int64_t, std::uint64_t> model;
    std::int64_t stamp = 0;
    for (int i = 0; i < 2000; ++i) {
      const auto leap = random.below(100) == 0 ? 20'000 * kInterval : 3 * kInterval;
      stamp += static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(leap)));
      const auto touches = random.below(1000);
      book.add(stamp, touches);
      model[Throughput::number_of(stamp)] += touches;
    }
    const auto end = Throughput::number_of(stamp) + 1;
    for (auto n = end - ThroughputBook::kIntervals; n < end; ++n) {
      const auto found = model.find(n);
      ASSERT_EQ(book.at(n), found == model.end() ? 0 : found->second) << n;
    }
    EXPECT_EQ(book.at(end - ThroughputBook::kIntervals - 1), 0U);
  }
}

}  // namespace
}  // namespace godwit::vmm
