#include "run/verdict.h"

#include <vector>

#include <gtest/gtest.h>

namespace godwit::lab {
namespace {

std::vector<Sample> runs(const char* figure, std::vector<double> values) {
  std::vector<Sample> samples;
  for (const auto value : values) {
    samples.push_back({{figure, value}});
  }
  return samples;
}

Limit at_least(const char* figure, double bound) {
  Limit limit;
  limit.figure = figure;
  limit.at_least = bound;
  return limit;
}

TEST(Verdict, JudgesTheMedian) {
  const auto samples = runs("page_rate_of_stream", {0.1, 0.5, 0.9});
  EXPECT_TRUE(judge(at_least("page_rate_of_stream", 0.5), samples, {}).met);
  EXPECT_FALSE(judge(at_least("page_rate_of_stream", 0.51), samples, {}).met);
  Limit most;
  most.figure = "page_rate_of_stream";
  most.at_most = 0.5;
  EXPECT_TRUE(judge(most, samples, {}).met);
  most.at_most = 0.49;
  EXPECT_FALSE(judge(most, samples, {}).met);
}

TEST(Verdict, JudgesRatiosOfMedians) {
  Limit limit;
  limit.figure = "total_ns";
  limit.ratio_at_most = 1.3;
  const auto other = runs("total_ns", {100, 100, 900});
  EXPECT_TRUE(judge(limit, runs("total_ns", {129, 10, 500}), other).met);
  const auto missed = judge(limit, runs("total_ns", {131, 10, 500}), other);
  EXPECT_FALSE(missed.met);
  EXPECT_NEAR(missed.value, 1.31, 1e-9);
  EXPECT_FALSE(judge(limit, runs("total_ns", {1}), runs("total_ns", {0})).met);
}

TEST(Verdict, AFigureThatNobodyMeasuredIsNotMet) {
  EXPECT_FALSE(judge(at_least("page_rate_of_stream", 0), runs("total_ns", {1, 2}), {}).met);
  EXPECT_FALSE(judge(at_least("total_ns", 0), {}, {}).met);
  Limit ratio;
  ratio.figure = "total_ns";
  ratio.ratio_at_most = 2;
  EXPECT_FALSE(judge(ratio, runs("total_ns", {1}), {}).met);
}

}  // namespace
}  // namespace godwit::lab
