#include "judge/compare_files.h"

#include <gtest/gtest.h>

#include "support/report_rows.h"

namespace godwit::lab {
namespace {

/// Seven runs of each of two modes; figures of the second mode are `factor` times what they are.
ResultRows file_of(double factor, std::uint64_t shift = 0) {
  ResultRows rows;
  for (const auto* mode : {"hybrid", "precopy"}) {
    for (std::uint64_t i = 0; i < 7; ++i) {
      auto run = verified_run(mode);
      const auto noise = 1 + 0.01 * static_cast<double>((i * 3 + shift) % 7);
      const auto slower = run.swept.at("mode") == "precopy" ? factor : 1;
      for (auto& [name, value] : run.figures.items()) {
        value = value.get<double>() * noise * slower;
      }
      run.figures["wire_bytes"] = 1e9 * slower * noise;
      rows.runs.push_back(std::move(run));
    }
  }
  return rows;
}

bool any_worse(const FileChange& change) {
  for (const auto& point : change.points) {
    if (point.worse()) {
      return true;
    }
  }
  return false;
}

TEST(CompareFiles, EqualFilesHaveNothingWorse) {
  const auto a = file_of(1);
  const auto b = file_of(1, 2);
  const auto change = compare_rows(a, b, 0.01);
  ASSERT_EQ(change.points.size(), 2U);
  EXPECT_FALSE(any_worse(change));
  EXPECT_FALSE(change.other_machine);
  EXPECT_TRUE(change.only_a.empty());
}

TEST(CompareFiles, ASlowerFileIsFoundAtItsPoint) {
  const auto a = file_of(1);
  const auto b = file_of(1.2);
  const auto change = compare_rows(a, b, 0.01);
  EXPECT_FALSE(change.points[0].worse());
  ASSERT_TRUE(change.points[1].worse());
  EXPECT_EQ(change.points[1].name, "writer, godwit precopy");
  for (const auto& one : change.points[1].figures) {
    EXPECT_TRUE(one.different) << one.figure->name;
    EXPECT_NEAR(one.ratio, 1.2, 1e-9);
    EXPECT_EQ(is_worse(one), std::string_view(one.figure->name) != "wire_bytes")
        << one.figure->name << ": shown, not watched";
  }
  EXPECT_FALSE(any_worse(compare_rows(b, a, 0.01))) << "faster is not worse";
}

TEST(CompareFiles, TooFewRunsShowNothing) {
  auto a = file_of(1);
  auto b = file_of(2);
  for (auto* rows : {&a, &b}) {
    rows->runs.erase(rows->runs.begin(), rows->runs.begin() + 11);
  }
  EXPECT_FALSE(any_worse(compare_rows(a, b, 0.01))) << "three runs of each side";
}

TEST(CompareFiles, RunsThatFailMoreOftenAreWorse) {
  const auto a = file_of(1);
  auto b = file_of(1);
  b.runs[3].verified = false;
  const auto change = compare_rows(a, b, 0.01);
  EXPECT_TRUE(change.points[0].fails_more());
  EXPECT_TRUE(change.points[0].worse());
  EXPECT_EQ(change.points[0].runs_b, 6U);
  EXPECT_FALSE(any_worse(compare_rows(b, a, 0.01)));
}

TEST(CompareFiles, PointsOfOneFileAloneAreNamedAndOtherMachinesNoticed) {
  const auto a = file_of(1);
  auto b = file_of(1);
  for (auto& run : b.runs) {
    run.host["load_1min"] = "9.00";
    run.commit = "def";
  }
  EXPECT_FALSE(compare_rows(a, b, 0.01).other_machine) << "load and commit are no machine";
  b.runs[0].host["cpu"] = "another";
  b.runs.resize(7);
  const auto change = compare_rows(a, b, 0.01);
  EXPECT_EQ(change.points.size(), 1U);
  ASSERT_EQ(change.only_a.size(), 1U);
  EXPECT_EQ(change.only_a[0], "writer, godwit precopy");
  EXPECT_TRUE(change.only_b.empty());
  EXPECT_TRUE(change.other_machine);
}

}  // namespace
}  // namespace godwit::lab
