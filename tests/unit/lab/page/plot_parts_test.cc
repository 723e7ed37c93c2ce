#include "page/plot_parts.h"

#include <vector>

#include <gtest/gtest.h>

#include "support/report_rows.h"

namespace godwit::lab {
namespace {

TEST(PlotParts, AMedianIsOfTheVerifiedRunsThatHaveTheFigure) {
  std::vector<RunRow> runs{verified_run("hybrid", 1), verified_run("hybrid", 3)};
  runs.push_back(verified_run("hybrid", 9));
  runs.back().verified = false;
  const auto groups = groups_of(runs);
  EXPECT_EQ(median(groups.front(), "total_ns"), 2);
  EXPECT_EQ(median(groups.front(), "valley"), 0);
}

TEST(PlotParts, TextsAreJoined) {
  EXPECT_EQ(joined({}), "");
  EXPECT_EQ(joined({"a"}), "a");
  EXPECT_EQ(joined({"a", "b", "c"}), "a; b; c");
  EXPECT_EQ(time_text(1.25e6), "1.25 ms");
  EXPECT_EQ(time_axis("total").scale, Scale::kLog);
}

TEST(PlotParts, ASeriesIsMadeOnceForItsNameAndMark) {
  Chart chart;
  series_in(chart, "a", 3, Mark::kDots).dots.push_back({1, 2});
  series_in(chart, "a", 3, Mark::kLines);
  EXPECT_EQ(series_in(chart, "a", 3, Mark::kDots).dots.size(), 1U);
  ASSERT_EQ(chart.series.size(), 2U);
  EXPECT_EQ(chart.series.front().style, 3U);
}

}  // namespace
}  // namespace godwit::lab
