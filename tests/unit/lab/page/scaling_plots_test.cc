#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "page/plots.h"
#include "support/report_rows.h"

namespace godwit::lab {
namespace {

TEST(ScalingChart, JoinsOnlyRunsThatDifferInNothingElse) {
  std::vector<RunRow> runs;
  for (const auto* memory : {"256MiB", "64MiB", "128MiB"}) {
    runs.push_back(verified_run("hybrid", *bytes_of(memory)));
    runs.back().command[5] = memory;
    runs.push_back(verified_run("precopy"));
    runs.back().command[5] = memory;
    runs.back().command.insert(runs.back().command.end(), {"--seed", memory});
  }
  Palette palette;
  const auto charts = scaling_charts(groups_of(runs), "memory", "m", palette);
  EXPECT_FALSE(charts) << "one point has one memory: the command of its first run";
  for (std::size_t i = 0; i < runs.size(); ++i) {
    runs[i].swept["memory"] = runs[i].command[5];
  }
  const auto swept = scaling_charts(groups_of(runs), "memory", "m", palette);
  ASSERT_TRUE(swept);
  ASSERT_EQ(swept->total.series.size(), 1U) << "the precopy runs differ in their seeds as well";
  const auto& dots = swept->total.series.front().dots;
  ASSERT_EQ(dots.size(), 3U);
  EXPECT_EQ(dots[0].x, 64.0 * 1024 * 1024) << "in the order of the sizes";
  EXPECT_EQ(dots[2].y, 256.0 * 1024 * 1024);
  EXPECT_EQ(swept->total.x.tics.front().second, "64 MiB");
  EXPECT_EQ(swept->downtime.series.size(), 2U) << "reported and seen by the guest";
}

TEST(ScalingChart, ALineThroughTwoScenariosNamesBoth) {
  std::vector<RunRow> runs(3, verified_run());
  runs[1].scenario = "other";
  runs[2].scenario = "other";
  for (std::size_t i = 0; i < runs.size(); ++i) {
    runs[i].swept["memory"] = std::to_string(64 << i) + "MiB";
  }
  runs[2].command.emplace_back("--timeline");  // looking on is no other measurement
  Palette palette;
  const auto charts = scaling_charts(groups_of(runs), "memory", "m", palette);
  ASSERT_TRUE(charts);
  ASSERT_EQ(charts->total.series.size(), 1U);
  EXPECT_EQ(charts->total.series.front().name, "godwit hybrid, writer and other");
}

TEST(ScalingChart, NoRateIsFullSpeedAndLiesAtTheFarEnd) {
  std::vector<RunRow> runs(3, verified_run());
  runs[0].swept["rate"] = "0";
  runs[1].swept["rate"] = "64MiB";
  runs[2].swept["rate"] = "128MiB";
  Palette palette;
  const auto charts = scaling_charts(groups_of(runs), "rate", "r", palette);
  ASSERT_TRUE(charts);
  EXPECT_EQ(charts->total.x.tics.back().second, "full speed");
  EXPECT_GT(charts->total.series.front().dots.back().x, *bytes_of("128MiB"));
  EXPECT_EQ(charts->total.series.front().dots.size(), 3U);
}

/// Faults of `latency_us` each over a link of that delay.
RunRow run_over_link(int delay_us, int latency_us) {
  auto run = verified_run("postcopy");
  run.link = {{"emulated", true},
              {"delay_us", delay_us},
              {"loss", 0},
              {"bandwidth_bits_per_s", 10'000'000'000},
              {"buffer_bytes", 1250 * delay_us}};
  run.swept["link.delay_us"] = delay_us;
  run.figures["fault_p50_ns"] = latency_us * 1000;
  return run;
}

TEST(RoundTripChart, ShowsLatencyBesideOneRoundTripAFault) {
  std::vector<RunRow> runs{
      run_over_link(500, 660), run_over_link(0, 90), run_over_link(200, 300), verified_run()};
  runs.push_back(run_over_link(100, 7000));
  runs.back().link["loss"] = 0.01;  // not the delay alone
  Palette palette;
  const auto chart = round_trip_chart(groups_of(runs), "r", palette);
  ASSERT_TRUE(chart);
  ASSERT_EQ(chart->series.size(), 2U);
  const auto& one_more = chart->series[0].dots;
  const auto& latency = chart->series[1].dots;
  ASSERT_EQ(latency.size(), 3U) << "in the order of the delays";
  EXPECT_EQ(latency[1].x, 200e3);
  EXPECT_EQ(latency[2].y, 660e3);
  EXPECT_EQ(one_more[2].y, 590e3);
  EXPECT_NE(chart->alt.find("1.14 of the round trip's growth"), std::string::npos) << chart->alt;
}

TEST(RoundTripChart, NeedsTwoDelaysOfTheEmulator) {
  std::vector<RunRow> runs{run_over_link(500, 660), run_over_link(0, 90)};
  runs[1].link["emulated"] = false;
  Palette palette;
  EXPECT_FALSE(round_trip_chart(groups_of(runs), "r", palette));
}

}  // namespace
}  // namespace godwit::lab
