#include "judge/difference.h"

#include <vector>

#include <gtest/gtest.h>

namespace godwit::lab {
namespace {

std::vector<Sample> samples(const char* figure, std::vector<double> values) {
  std::vector<Sample> out;
  for (const auto value : values) {
    out.push_back({{figure, value}});
  }
  return out;
}

TEST(Differences, OnlyFiguresOfBothSidesAreCompared) {
  const std::vector<Sample> a{{{"total_ns", 1}, {"valley", 0.5}, {"no_figure", 1}}};
  const std::vector<Sample> b{{{"total_ns", 2}, {"wire_bytes", 1}, {"no_figure", 2}}};
  const auto all = differences(a, b, 0.01);
  ASSERT_EQ(all.size(), 1U);
  EXPECT_STREQ(all[0].figure->name, "total_ns");
  EXPECT_EQ(all[0].ratio, 2);
  EXPECT_TRUE(differences(a, {}, 0.01).empty());
}

TEST(Differences, AreCalledSoBelowAlpha) {
  const auto low = samples("total_ns", {1, 2, 3, 4, 5, 6, 7});
  const auto high = samples("total_ns", {11, 12, 13, 14, 15, 16, 17});
  const auto one = differences(low, high, 0.001).front();  // 2 of 3432 ways lie as far apart
  EXPECT_TRUE(one.different);
  EXPECT_NEAR(one.p, 2.0 / 3432, 1e-9);
  EXPECT_FALSE(differences(low, high, 0.0005).front().different);
  EXPECT_FALSE(differences(low, low, 0.01).front().different);
}

TEST(Differences, ARatioToZeroIsZero) {
  EXPECT_EQ(differences(samples("valley", {0}), samples("valley", {1}), 0.01).front().ratio, 0);
}

TEST(Differences, AreWrittenAndShownWithTheirSpread) {
  const auto one =
      differences(samples("total_ns", {1e9, 2e9, 3e9}), samples("total_ns", {3e9}), 0.01).front();
  EXPECT_EQ(json_text(difference_json(one)),
            R"({"a":{"median":2000000000.0,"min":1000000000.0,"max":3000000000.0},)"
            R"("b":{"median":3000000000.0,"min":3000000000.0,"max":3000000000.0},)"
            R"("ratio":1.5,"p":0.75,"different":false})");
  EXPECT_EQ(difference_cells(one, "-"),
            (std::vector<std::string>{"total_ns",
                                      "2.00 s (1.00 s .. 3.00 s)",
                                      "3.00 s (3.00 s .. 3.00 s)",
                                      "1.500",
                                      "0.7500",
                                      "-"}));
  EXPECT_EQ(difference_cells(one, "-").size(), difference_head().size());
}

}  // namespace
}  // namespace godwit::lab
