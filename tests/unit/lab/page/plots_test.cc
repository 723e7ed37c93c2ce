#include "page/plots.h"

#include <vector>

#include <gtest/gtest.h>

#include "support/report_rows.h"

namespace godwit::lab {
namespace {

const Series* find(const Chart& chart, const std::string& name, Mark mark) {
  for (const auto& series : chart.series) {
    if (series.name == name && series.mark == mark) {
      return &series;
    }
  }
  return nullptr;
}

TEST(DowntimeChart, HasAMarkForEachRunAndTheGapBesideIt) {
  const std::vector<RunRow> runs{
      verified_run(), verified_run("hybrid", 3e9), verified_run("precopy")};
  Palette palette;
  const auto chart = downtime_chart(groups_of(runs), "d", palette);
  ASSERT_TRUE(chart);
  const auto* reported = find(*chart, "godwit hybrid", Mark::kDots);
  const auto* seen = find(*chart, "godwit hybrid, seen by the guest", Mark::kHollowDots);
  ASSERT_NE(reported, nullptr);
  ASSERT_NE(seen, nullptr);
  ASSERT_EQ(reported->dots.size(), 2U);
  EXPECT_EQ(reported->dots[1].x, 3e9);
  EXPECT_EQ(reported->dots[1].y, 1e6);
  EXPECT_EQ(seen->dots[1].y, 3e6);
  EXPECT_EQ(reported->style, seen->style);
  EXPECT_NE(reported->style, find(*chart, "godwit precopy", Mark::kDots)->style);
  EXPECT_NE(chart->alt.find("godwit precopy: 1 runs, median total 2.00 s"), std::string::npos);
}

TEST(DowntimeChart, ThereIsNoneWithoutAVerifiedRun) {
  std::vector<RunRow> runs{verified_run()};
  runs[0].verified = false;
  Palette palette;
  EXPECT_FALSE(downtime_chart(groups_of(runs), "d", palette));
  EXPECT_FALSE(fault_chart(groups_of(runs), Faults::kEngine, "f", palette));
  EXPECT_FALSE(rounds_chart(groups_of(runs), "r", palette));
  EXPECT_FALSE(throughput_chart(groups_of(runs).front(), "t", palette));
  EXPECT_FALSE(scaling_charts(groups_of(runs), "memory", "m", palette));
}

TEST(FaultChart, AddsTheBucketsOfAllRuns) {
  std::vector<RunRow> runs(2, verified_run());
  for (auto& run : runs) {
    run.report["faults"]["buckets"] = parse_json("[[1000,30],[2000,0],[4000,15],[64000,5]]");
  }
  Palette palette;
  const auto chart = fault_chart(groups_of(runs), Faults::kEngine, "f", palette);
  ASSERT_TRUE(chart);
  EXPECT_EQ(chart->caption.find("Approximate"), std::string::npos);
  const auto& dots = chart->series.front().dots;
  ASSERT_EQ(dots.size(), 4U) << "the foot, and each bucket that is not empty";
  EXPECT_EQ(dots[0].y, 0);
  EXPECT_EQ(dots[1].x, 1000);
  EXPECT_DOUBLE_EQ(dots[1].y, 59.5 / 100);
  EXPECT_DOUBLE_EQ(dots[2].y, 89.5 / 100);
  EXPECT_EQ(dots[3].x, 64000);
  EXPECT_DOUBLE_EQ(dots[3].y, 99.5 / 100);
}

TEST(FaultChart, WithoutBucketsItSaysThatItIsApproximate) {
  std::vector<RunRow> runs{verified_run(), verified_run("hybrid", 3e9)};
  runs[0].report["faults"]["buckets"] = parse_json("[[1000,30]]");
  Palette palette;
  const auto chart = fault_chart(groups_of(runs), Faults::kEngine, "f", palette);
  ASSERT_TRUE(chart);
  EXPECT_NE(chart->caption.find("Approximate"), std::string::npos)
      << "half of the runs is not all of them";
  const auto& dots = chart->series.front().dots;
  ASSERT_EQ(dots.size(), 5U);
  EXPECT_EQ(dots[1].x, 10000);
  EXPECT_EQ(dots[1].y, 0.5);
  EXPECT_EQ(dots[3].y, 0.999);
  EXPECT_EQ(dots[4].x, 700000);
  EXPECT_FALSE(fault_chart(groups_of(runs), Faults::kGuest, "g", palette));
}

TEST(FaultChart, QuantilesThatSoFewFaultsCannotHaveAreLeftOut) {
  std::vector<RunRow> runs{verified_run()};
  runs[0].report["faults"]["count"] = 8;
  Palette palette;
  const auto chart = fault_chart(groups_of(runs), Faults::kEngine, "f", palette);
  const auto& dots = chart->series.front().dots;
  ASSERT_EQ(dots.size(), 3U) << "foot, median, slowest";
  EXPECT_DOUBLE_EQ(dots[2].y, 7.5 / 8);
}

TEST(ThroughputChart, ShowsRatesAndShadesPhases) {
  std::vector<RunRow> runs{verified_run("hybrid", 901e6)};
  runs[0].report["timeline"] =
      parse_json(R"({"interval_ns":100000000,"start_ns":-100000000,"touches":[5,100,50,0,9]})");
  runs[0].report["phases"] = parse_json(
      R"([{"name":"precopy","start_ns":100000000,"end_ns":600000000},
          {"name":"blackout","start_ns":600000000,"end_ns":601000000},
          {"name":"postcopy","start_ns":601000000,"end_ns":901000000}])");
  runs[0].figures["valley"] = 0.25;
  runs[0].figures["recovery_ns"] = 13e6;
  Palette palette;
  const auto chart = throughput_chart(groups_of(runs).front(), "t", palette);
  ASSERT_TRUE(chart);
  const auto& dots = chart->series.front().dots;
  ASSERT_EQ(dots.size(), 5U);
  EXPECT_EQ(dots[0].x, -1e8);
  EXPECT_EQ(dots[1].y, 4096000) << "100 pages in a tenth of a second";
  ASSERT_EQ(chart->bands.size(), 4U);
  EXPECT_EQ(chart->bands[2].name, "downtime");
  EXPECT_EQ(chart->bands[2].from, 6e8);
  EXPECT_EQ(chart->bands[2].to, 6.01e8);
  EXPECT_EQ(chart->bands[0].name, "setup");
  EXPECT_EQ(chart->bands[0].to, 1e8);
  EXPECT_NE(chart->alt.find("lowest interval 25 % of before"), std::string::npos) << chart->alt;
  EXPECT_NE(chart->alt.find("at 90 % again 13.00 ms after the blackout"), std::string::npos);
}

TEST(ThroughputChart, ShowsTheRecoveryAndNotAllThatFollows) {
  std::vector<RunRow> runs{verified_run("hybrid", 100e6)};
  runs[0].report["timeline"] = {{"interval_ns", 10'000'000},
                                {"start_ns", -200'000'000},
                                {"touches", std::vector<int>(200, 7)}};
  runs[0].report["phases"] =
      parse_json(R"([{"name":"blackout","start_ns":40000000,"end_ns":50000000}])");
  Palette palette;
  const auto reach = [&] {
    const auto chart = throughput_chart(groups_of(runs).front(), "t", palette);
    return chart ? chart->series.front().dots.back().x : 0;
  };
  EXPECT_EQ(reach(), 200e6) << "the total, and ten intervals";
  runs[0].figures["recovery_ns"] = 500e6;
  EXPECT_EQ(reach(), 650e6);
}

TEST(ThroughputChart, AnIdleGuestHasStepsAndNoBytes) {
  std::vector<RunRow> runs{verified_run("hybrid", 20e6)};
  runs[0].report["timeline"] =
      parse_json(R"({"interval_ns":10000000,"start_ns":0,"touches":[9,9,8]})");
  runs[0].report["guest"]["workload"] = "idle";
  Palette palette;
  const auto chart = throughput_chart(groups_of(runs).front(), "t", palette);
  ASSERT_TRUE(chart);
  EXPECT_EQ(chart->series.front().dots[2].y, 800);
  EXPECT_EQ(chart->y.unit, Unit::kCount);
  EXPECT_NE(chart->alt.find("between 800 steps a second and 900 steps a second"), std::string::npos)
      << chart->alt;
  EXPECT_TRUE(chart->bands.empty()) << "this report names no phases";
}

TEST(RoundsChart, ZeroHasAPlaceOnTheLogAxis) {
  const std::vector<RunRow> runs{verified_run()};
  Palette palette;
  const auto chart = rounds_chart(groups_of(runs), "r", palette);
  ASSERT_TRUE(chart);
  const auto* sent = find(*chart, "godwit hybrid", Mark::kLines);
  ASSERT_NE(sent, nullptr);
  ASSERT_EQ(sent->dots.size(), 2U);
  EXPECT_EQ(sent->dots[0].y, 1000);
  EXPECT_EQ(find(*chart, "godwit hybrid, written meanwhile", Mark::kDashedLines)->dots[1].y, 0.5);
  EXPECT_EQ(chart->y.tics.front().second, "0");
}

}  // namespace
}  // namespace godwit::lab
