#include "rows/results_file.h"

#include <sstream>
#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace godwit::lab {
namespace {

constexpr const char* kRun =
    R"({"schema":"godwit.lab.v1","kind":"run","set":"s","scenario":"idle","side":"idle",)"
    R"("swept":{"vcpus":2},"round":1,"at_unix_s":7,"command":["godwit","demo"],"commit":"c",)"
    R"("host":{"cores":2},"exit_code":0,"verified":true,"reason":"",)"
    R"("figures":{"total_ns":5.0,"odd":null,"word":"x"},"report":null})";

std::string error_of(const std::string& text) {
  std::istringstream in(text);
  ResultRows rows;
  const auto done = read_rows(in, "x.jsonl", rows);
  return done ? "" : done.error().message();
}

TEST(ResultsFile, ReadsRunsAndLimitsAndPassesOverTheRest) {
  std::istringstream in(
      fmt::format("{}\n\n{}\n{}\n{}",
                  kRun,
                  R"({"schema":"godwit.lab.v1","kind":"limit","scenario":"idle",)"
                  R"("text":"total 2 s <= 1 s","met":false})",
                  R"({"schema":"godwit.lab.v1","kind":"summary"})",
                  R"({"schema":"godwit.lab.v1","kind":"left_out","reason":"no root"})"));
  ResultRows rows;
  ASSERT_TRUE(read_rows(in, "x.jsonl", rows));
  ASSERT_EQ(rows.runs.size(), 1U);
  const auto& run = rows.runs.front();
  EXPECT_EQ(run.scenario, "idle");
  EXPECT_EQ(run.swept.at("vcpus"), 2);
  EXPECT_EQ(run.command.size(), 2U);
  EXPECT_TRUE(run.verified);
  EXPECT_EQ(run.figures, Json({{"total_ns", 5.0}})) << "what is no number is no figure";
  EXPECT_TRUE(run.report.is_null());
  EXPECT_TRUE(run.peer.is_null());
  ASSERT_EQ(rows.limits.size(), 1U);
  EXPECT_FALSE(rows.limits.front().met);
  ASSERT_EQ(rows.left_out.size(), 1U);
  EXPECT_EQ(rows.left_out.front().reason, "no root");
}

TEST(ResultsFile, AnErrorNamesFileAndLine) {
  const auto behind = [](const char* before, const char* line) {
    return error_of(fmt::format("{}{}\n{}", before, kRun, line));
  };
  EXPECT_EQ(behind("", ""), "");
  EXPECT_NE(behind("", R"({"schema":"godwit.la)").find("x.jsonl:2:"), std::string::npos);
  EXPECT_NE(behind("\n", "[1]").find("x.jsonl:3:"), std::string::npos);
  EXPECT_NE(error_of(R"({"schema":"other.v1","kind":"run"})").find("godwit.lab.v1"),
            std::string::npos);
  EXPECT_NE(error_of(R"({"schema":"godwit.lab.v1","kind":"run"})").find("scenario"),
            std::string::npos);
}

TEST(ResultsFile, MembersOfTheWrongTypeAreAsIfMissing) {
  std::istringstream in(
      R"({"schema":"godwit.lab.v1","kind":"run","scenario":"a","swept":[1],"command":[7,"x"],)"
      R"("verified":"yes","figures":3,"report":"none","peer":"qemu","host":null})");
  ResultRows rows;
  ASSERT_TRUE(read_rows(in, "x", rows));
  const auto& run = rows.runs.front();
  EXPECT_TRUE(run.swept.is_object());
  EXPECT_EQ(run.command.front(), "7");
  EXPECT_FALSE(run.verified);
  EXPECT_TRUE(run.figures.empty());
  EXPECT_TRUE(run.report.is_null());
  EXPECT_TRUE(run.peer.is_null());
  EXPECT_TRUE(run.host.is_object());
}

TEST(ResultsFile, AFileThatIsNotThereIsAnError) {
  ResultRows rows;
  EXPECT_FALSE(read_result_file("/nowhere/x.jsonl", rows));
  EXPECT_FALSE(read_result_file("/dev/null", rows)) << "a file without a run";
}

}  // namespace
}  // namespace godwit::lab
