#include "rows/run_groups.h"

#include <vector>

#include <gtest/gtest.h>

#include "support/report_rows.h"

namespace godwit::lab {
namespace {

TEST(RunGroups, RunsOfOnePointAreOneGroup) {
  std::vector<RunRow> runs{
      verified_run("hybrid", 3), verified_run("precopy"), verified_run("hybrid", 1)};
  runs.push_back(verified_run("hybrid", 2));
  runs.push_back(verified_run("hybrid"));
  runs.back().verified = false;
  const auto groups = groups_of(runs);
  ASSERT_EQ(groups.size(), 2U);
  EXPECT_EQ(groups[0].series, "godwit hybrid");
  EXPECT_EQ(groups[0].label(), "godwit hybrid") << "the mode is not told twice";
  EXPECT_EQ(groups[0].runs.size(), 3U);
  EXPECT_EQ(groups[0].failed.size(), 1U);
  EXPECT_EQ(number_at(groups[0].typical().figures, "/total_ns"), 2);
  EXPECT_EQ(groups[1].series, "godwit precopy");
}

TEST(RunGroups, PeersSidesLinksAndCommitsAreKeptApart) {
  std::vector<RunRow> runs(5, verified_run());
  runs[1].peer = {{"name", "qemu"}, {"version", "7.2"}, {"mode", "postcopy"}};
  runs[2].side = "b";
  runs[3].link = {{"bandwidth_bits_per_s", 1e9}, {"delay_us", 100}};
  const auto groups = groups_of(runs);
  ASSERT_EQ(groups.size(), 4U);
  EXPECT_EQ(groups[0].runs.size(), 2U);
  EXPECT_EQ(groups[1].series, "qemu 7.2 postcopy");
  EXPECT_EQ(groups[2].series, "b: godwit hybrid");
  EXPECT_EQ(groups[3].label(), "godwit hybrid, link 1 Gbit/s, round trip 100 us");
  EXPECT_EQ(groups[0].series, "godwit hybrid");
  runs[0].side = "a";
  runs[4].side = "a";
  EXPECT_EQ(groups_of(runs)[0].series, "a: godwit hybrid") << "there is a side b beside it";
  runs[4].commit = "def";
  EXPECT_EQ(groups_of(runs).size(), 5U);
  EXPECT_EQ(groups_of(runs).back().series, "a: godwit hybrid @def");
  EXPECT_EQ(point_key(runs[0]), point_key(runs[4])) << "between files the commit may differ";
  EXPECT_NE(point_key(runs[0]), point_key(runs[1]));
  EXPECT_NE(point_key(runs[0]), point_key(runs[3]));
  auto newer = runs[1];
  newer.peer["version"] = "10.0.2";
  EXPECT_NE(point_key(runs[1]), point_key(newer)) << "a newer peer is another one";
}

TEST(RunGroups, LoadAndUserAreKeptApartAndTold) {
  std::vector<RunRow> runs(4, verified_run());
  runs[1].load = {{"busy", 2}, {"cpu_quota_percent", 0}};
  runs[1].swept = {{"load.busy", 2}, {"rate", "1MiB"}};
  runs[2].load = {{"busy", 1}, {"cpu_quota_percent", 150}};
  runs[3].user = "nobody";
  runs[3].swept = {{"user", "nobody"}};
  const auto groups = groups_of(runs);
  ASSERT_EQ(groups.size(), 4U);
  EXPECT_EQ(groups[0].label(), "godwit hybrid");
  EXPECT_EQ(groups[1].label(), "godwit hybrid, rate=1MiB, 2 busy loops");
  EXPECT_EQ(groups[2].label(), "godwit hybrid, 1 busy loop, CPU quota 150 %");
  EXPECT_EQ(groups[3].label(), "godwit hybrid, user nobody");
}

TEST(RunGroups, OptionsComeFromTheCommandLine) {
  auto run = verified_run();
  run.command = {"/a/godwit", "demo", "--json", "--working-set", "8MiB", "--prealloc"};
  run.swept = {{"vcpus", 2}};
  const auto options = options_of(run);
  EXPECT_EQ(options.at("working_set"), "8MiB");
  EXPECT_EQ(options.at("prealloc"), "true");
  EXPECT_EQ(options.at("vcpus"), "2");
  run.peer = {{"name", "qemu"}};
  EXPECT_EQ(options_of(run).size(), 1U) << "a peer's command line is not ours";
}

TEST(RunGroups, SizesAreReadAsTheCommandReadsThem) {
  EXPECT_EQ(bytes_of("4096"), 4096);
  EXPECT_EQ(bytes_of("64MiB"), 64.0 * 1024 * 1024);
  EXPECT_EQ(bytes_of("0"), 0);
  EXPECT_FALSE(bytes_of("64MB"));
  EXPECT_FALSE(bytes_of("full"));
  EXPECT_FALSE(bytes_of(""));
}

}  // namespace
}  // namespace godwit::lab
