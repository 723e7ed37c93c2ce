#include "godwit/base/histogram.h"

#include <algorithm>
#include <vector>

#include <gtest/gtest.h>

#include "godwit/base/random.h"

namespace godwit {
namespace {

TEST(Histogram, IsEmptyAtFirst) {
  const Histogram histogram;
  EXPECT_EQ(histogram.count(), 0U);
  EXPECT_EQ(histogram.quantile(0.5), 0U);
  EXPECT_EQ(histogram.max(), 0U);
}

TEST(Histogram, TakesTheWholeRange) {
  Histogram histogram;
  histogram.record(0);
  histogram.record(UINT64_MAX);
  EXPECT_EQ(histogram.quantile(0.0), 0U);
  EXPECT_EQ(histogram.quantile(1.0), UINT64_MAX);
  EXPECT_EQ(histogram.max(), UINT64_MAX);
}

TEST(Histogram, QuantilesLieWithinOneSixteenthOfSortedSamples) {
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    SplitMix64 random(seed);
    Histogram histogram;
    std::vector<std::uint64_t> samples;
    for (int i = 0; i < 2000; ++i) {
      samples.push_back(random.next() >> (20 + random.below(44)));
      histogram.record(samples.back());
    }
    std::sort(samples.begin(), samples.end());
    for (const double quantile : {0.01, 0.5, 0.9, 0.99, 1.0}) {
      const auto rank = static_cast<std::size_t>(quantile * 2000.0 + 0.999) - 1;
      const auto exact = samples[std::min<std::size_t>(rank, samples.size() - 1)];
      EXPECT_GE(histogram.quantile(quantile), exact);
      EXPECT_LE(histogram.quantile(quantile), exact + exact / 16 + 1);
    }
    EXPECT_EQ(histogram.max(), samples.back());
  }
}

TEST(Histogram, BucketsHoldAllSamplesUpToTheirEdges) {
  Histogram histogram;
  for (const std::uint64_t ns : {3U, 1000U, 1000U, 1001U, 70000U}) {
    histogram.record(ns);
  }
  std::vector<std::pair<std::uint64_t, std::uint64_t>> seen;
  for (const auto& [bucket, count] : histogram.buckets()) {
    seen.emplace_back(histogram.upper_ns(bucket), count);
  }
  ASSERT_EQ(seen.size(), 3U);
  EXPECT_EQ(seen[0], (std::pair<std::uint64_t, std::uint64_t>{3, 1}));
  EXPECT_EQ(seen[1], (std::pair<std::uint64_t, std::uint64_t>{1023, 3}));
  EXPECT_EQ(seen[2], (std::pair<std::uint64_t, std::uint64_t>{70000, 1})) << "at most the largest";
}

TEST(Histogram, MergingIsRecordingBoth) {
  Histogram first;
  Histogram second;
  Histogram both;
  for (std::uint64_t i = 0; i < 100; ++i) {
    (i % 3 == 0 ? first : second).record(i * i);
    both.record(i * i);
  }
  first.merge(second);
  EXPECT_EQ(first.count(), both.count());
  EXPECT_EQ(first.max(), both.max());
  EXPECT_EQ(first.quantile(0.7), both.quantile(0.7));
}

}  // namespace
}  // namespace godwit
