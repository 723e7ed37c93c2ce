#include "ground/stats.h"

#include <cmath>
#include <vector>

#include <gtest/gtest.h>

#include "godwit/base/random.h"

namespace godwit::lab {
namespace {

using Values = std::vector<double>;

TEST(Spread, MedianOfOddAndEvenCounts) {
  EXPECT_DOUBLE_EQ(spread_of(Values{3, 1, 2}).median, 2);
  EXPECT_DOUBLE_EQ(spread_of(Values{4, 1, 3, 2}).median, 2.5);
  EXPECT_DOUBLE_EQ(spread_of(Values{7}).median, 7);
  EXPECT_DOUBLE_EQ(spread_of(Values{4, 1, 3, 2}).min, 1);
  EXPECT_DOUBLE_EQ(spread_of(Values{4, 1, 3, 2}).max, 4);
}

// Counted by hand: all ways to deal the labels, of which only the two extremes are as far out.
TEST(Permutation, SeparatedSidesHaveTwoDealsAsFarOut) {
  EXPECT_NEAR(permutation_p(Values{1, 2, 3}, Values{4, 5, 6}), 2.0 / 20, 1e-12);
  EXPECT_NEAR(permutation_p(Values{1, 2, 3, 4, 5}, Values{6, 7, 8, 9, 10}), 2.0 / 252, 1e-12);
  EXPECT_NEAR(permutation_p(Values{10, 9, 8, 7, 6}, Values{1, 2, 3, 4, 5}), 2.0 / 252, 1e-12);
}

// The exact two-sided Mann-Whitney probabilities of published tables: U = 1 and U = 2 of 5 and 5
// are 4/252 and 8/252.
TEST(Permutation, AgreesWithTheRankSumTable) {
  EXPECT_NEAR(permutation_p(Values{1, 2, 3, 4, 6}, Values{5, 7, 8, 9, 10}), 4.0 / 252, 1e-12);
  EXPECT_NEAR(permutation_p(Values{1, 2, 3, 4, 7}, Values{5, 6, 8, 9, 10}), 8.0 / 252, 1e-12);
}

TEST(Permutation, EqualSidesAreNotDifferent) {
  EXPECT_DOUBLE_EQ(permutation_p(Values{5, 5, 5}, Values{5, 5, 5}), 1);
  EXPECT_DOUBLE_EQ(permutation_p(Values{1, 4}, Values{2, 3}), 1);
  EXPECT_DOUBLE_EQ(permutation_p(Values{}, Values{1}), 1);
}

TEST(Permutation, AnOutlierDoesNotMakeADifference) {
  const Values a{1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1000};
  const Values b{1.05, 1.15, 1.25, 1.35, 1.45, 1.55, 1.01};
  EXPECT_GT(permutation_p(a, b), 0.3);
}

TEST(Permutation, DrawnDealsAgreeWithTheExactOnesOfTheNormalLimit) {
  // 12 and 12: 2.7 million deals, so they are drawn. Separated sides are as far out as can be.
  Values a;
  Values b;
  for (int i = 0; i < 12; ++i) {
    a.push_back(i);
    b.push_back(100 + i);
  }
  EXPECT_LT(permutation_p(a, b), 1e-4);
  // Taking turns with one shift: U = 66 of 144, the mean 72, standard deviation sqrt(300): the
  // normal approximation with continuity correction gives 0.75.
  a.clear();
  b.clear();
  for (int i = 0; i < 12; ++i) {
    a.push_back(2 * i);
    b.push_back(2 * i + 1);
  }
  EXPECT_NEAR(permutation_p(a, b), 0.755, 0.01);
}

// The promise behind "different": of pairs of equal sides, no more than alpha are called different.
TEST(Permutation, FalseAlarmsStayBelowAlpha) {
  SplitMix64 random(7);
  constexpr int kTrials = 2000;
  int alarms = 0;
  for (int trial = 0; trial < kTrials; ++trial) {
    Values a;
    Values b;
    for (int i = 0; i < 7; ++i) {
      // Bimodal, as the times of fresh memory are.
      const auto draw = [&] {
        return static_cast<double>(random.below(1000)) + (random.below(3) == 0 ? 5000 : 0);
      };
      a.push_back(draw());
      b.push_back(draw());
    }
    alarms += permutation_p(a, b) < 0.05 ? 1 : 0;
  }
  EXPECT_LE(alarms, kTrials * 0.065);
  EXPECT_GE(alarms, kTrials * 0.02);  // a test that never alarms would not be one
}

TEST(SmallestP, IsWhatSeparatedSidesGive) {
  EXPECT_NEAR(smallest_p(5, 5), 2.0 / 252, 1e-12);
  EXPECT_NEAR(smallest_p(3, 3), 0.1, 1e-12);
  EXPECT_DOUBLE_EQ(smallest_p(1, 1), 1);
  EXPECT_DOUBLE_EQ(smallest_p(0, 4), 1);
}

}  // namespace
}  // namespace godwit::lab
