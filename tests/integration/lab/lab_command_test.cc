#include <string>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/command/command.h"
#include "support/require_kvm.h"
#include "support/temporary_directory.h"

// The lab cannot flatter: it calls equal things equal, and finds and sizes a delay that was
// planted.

namespace godwit::test {
namespace {

/// The last line: the comparison.
Json last_row(const Outcome& ran) {
  const auto rows = json_lines(ran.out);
  return rows.empty() ? Json() : rows.back();
}

// Seven pairs and alpha 0.001: only sides without any overlap are called different, which equal
// sides are in 2 of 3432 comparisons.
Outcome compare(const std::string& arguments) {
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
  ASSERT_EQ(ran.code, 0) << ran.all();
  const auto row = last_row(ran);
  ASSERT_EQ(row.value("kind", ""), "comparison");
  for (const auto* figure : {"downtime_ns", "guest_gap_ns"}) {
    EXPECT_EQ(row["figures"][figure]["different"], false) << row["figures"][figure];
  }
}

TEST(Lab, ADelayPlantedInTheBlackoutIsFoundAndSized) {
  const auto ran = compare("same --set-b inject=blackout-delay=200ms");
  ASSERT_EQ(ran.code, 0) << ran.all();
  const auto row = last_row(ran);
  ASSERT_EQ(row.value("kind", ""), "comparison");
  expect_sized(row, "downtime_ns", 200e6);
  expect_sized(row, "guest_gap_ns", 200e6);
}

TEST(Lab, ADelayPlantedInTheFaultPathIsFoundAndSized) {
  const auto ran = compare("same-faults --set-b inject=fault-delay=1ms");
  ASSERT_EQ(ran.code, 0) << ran.all();
  const auto row = last_row(ran);
  ASSERT_EQ(row.value("kind", ""), "comparison");
  constexpr double kBucket = 1.0 / 16;
  expect_sized(row, "fault_p50_ns", 1e6, kBucket);
  // Of the touches that a process guest calls slow, most wait for a mapping and for no page.
  if (kvm::unusable_reason().empty()) {
    expect_sized(row, "guest_fault_p50_ns", 1e6, kBucket);
  }
}

TEST(Lab, ARunThatIsNotVerifiedFailsTheLab) {
  const TemporaryDirectory directory;
  directory.write("damaged.json",
                  R"({"name": "damaged", "description": "a page is dropped", "runs": 1,
                      "options": {"memory": "32MiB", "inject": "drop-page"}})");
  const auto ran = run_lab(fmt::format("run damaged --json --scenarios {}", directory.path()));
  EXPECT_EQ(ran.code, 1) << ran.all();
  EXPECT_THAT(ran.out, testing::HasSubstr(R"("verified":false)"));
}

TEST(Lab, UsageErrorsExitWithTwo) {
  EXPECT_EQ(run_lab("run no-such-scenario").code, 2);
  EXPECT_EQ(run_lab("compare").code, 2);
  EXPECT_EQ(run_lab("compare --scenario smoke-modes").code, 2) << "a sweep is no side";
}

}  // namespace
}  // namespace godwit::test
