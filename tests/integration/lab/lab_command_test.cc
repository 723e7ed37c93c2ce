#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "support/json_view.h"

// The lab cannot flatter: it calls equal things equal, and finds and sizes a delay that was
// planted.

namespace godwit {
namespace {

struct Ran {
  int code = -1;
  std::string out;
};

Ran run_lab(const std::string& arguments) {
  const auto line = fmt::format("timeout 250 {} {} 2>/dev/null", GODWIT_LAB, arguments);
  Ran ran;
  FILE* pipe = ::popen(line.c_str(), "r");
  if (pipe == nullptr) {
    return ran;
  }
  char buffer[4096];
  while (const auto got = std::fread(buffer, 1, sizeof buffer, pipe)) {
    ran.out.append(buffer, got);
  }
  const int status = ::pclose(pipe);
  ran.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return ran;
}

/// The last line: the comparison.
Json last_row(const Ran& ran) {
  const auto end = ran.out.find_last_not_of('\n');
  const auto start = ran.out.find_last_of('\n', end);
  return parse_json(ran.out.substr(start == std::string::npos ? 0 : start + 1));
}

// Seven pairs and alpha 0.001: only sides without any overlap are called different, which equal
// sides are in 2 of 3432 comparisons.
Ran compare(const std::string& arguments) {
  return run_lab("compare --pairs 7 --alpha 0.001 --json --scenario " + arguments);
}

/// That `name` is called different, by `planted_ns` within 10 %. `step`: a value from a histogram
/// is the upper edge of a bucket that is this share of it wide, and may be that much less.
void expect_sized(const Json& row, const char* name, double planted_ns, double step = 0) {
  const auto& figure = row["figures"][name];
  EXPECT_EQ(figure["different"], true) << figure;
  const auto a = figure["a"]["median"].get<double>();
  const auto b = figure["b"]["median"].get<double>();
  EXPECT_LE(b * (1 - step) - a, planted_ns * 1.1) << name << ": " << figure;
  EXPECT_GE(b - a * (1 - step), planted_ns * 0.9) << name << ": " << figure;
}

TEST(Lab, EqualSidesAreNotCalledDifferent) {
  const auto ran = compare("same");
  ASSERT_EQ(ran.code, 0) << ran.out;
  const auto row = last_row(ran);
  ASSERT_EQ(row.value("kind", ""), "comparison");
  for (const auto* figure : {"downtime_ns", "guest_gap_ns"}) {
    EXPECT_EQ(row["figures"][figure]["different"], false) << row["figures"][figure];
  }
}

TEST(Lab, ADelayPlantedInTheBlackoutIsFoundAndSized) {
  const auto ran = compare("same --set-b inject=blackout-delay=200ms");
  ASSERT_EQ(ran.code, 0) << ran.out;
  const auto row = last_row(ran);
  ASSERT_EQ(row.value("kind", ""), "comparison");
  expect_sized(row, "downtime_ns", 200e6);
  expect_sized(row, "guest_gap_ns", 200e6);
}

TEST(Lab, ADelayPlantedInTheFaultPathIsFoundAndSized) {
  const auto ran = compare("same-faults --set-b inject=fault-delay=1ms");
  ASSERT_EQ(ran.code, 0) << ran.out;
  const auto row = last_row(ran);
  ASSERT_EQ(row.value("kind", ""), "comparison");
  constexpr double kBucket = 1.0 / 16;
  expect_sized(row, "fault_p50_ns", 1e6, kBucket);
  expect_sized(row, "guest_fault_p50_ns", 1e6, kBucket);
}

TEST(Lab, ARunThatIsNotVerifiedFailsTheLab) {
  const auto directory =
      std::filesystem::temp_directory_path() / fmt::format("godwit-lab-{}", ::getpid());
  std::filesystem::create_directories(directory);
  std::ofstream(directory / "damaged.json")
      << R"({"name": "damaged", "description": "a page is dropped", "runs": 1,
             "options": {"memory": "32MiB", "inject": "drop-page"}})";
  const auto ran = run_lab(fmt::format("run damaged --json --scenarios {}", directory.string()));
  std::filesystem::remove_all(directory);
  EXPECT_EQ(ran.code, 1) << ran.out;
  EXPECT_NE(ran.out.find(R"("verified":false)"), std::string::npos);
}

TEST(Lab, UsageErrorsExitWithTwo) {
  EXPECT_EQ(run_lab("run no-such-scenario").code, 2);
  EXPECT_EQ(run_lab("compare").code, 2);
  EXPECT_EQ(run_lab("compare --scenario smoke-modes").code, 2) << "a sweep is no side";
}

}  // namespace
}  // namespace godwit
