#include <string>

#include <gtest/gtest.h>

#include "command_support.h"

namespace godwit::lab {
namespace {

class CompareFilesCommand : public CommandTest {
 protected:
  /// Seven runs whose total grows a little from each to the next.
  std::string file(const std::string& name, const std::string& scenario, double total_ns) const {
    std::ofstream out(at(name));
    for (int i = 0; i < 7; ++i) {
      const Json row{{"schema", "godwit.lab.v1"},
                     {"kind", "run"},
                     {"scenario", scenario},
                     {"verified", true},
                     {"figures", {{"total_ns", total_ns + 1e6 * i}, {"wire_bytes", 1024}}}};
      out << json_text(row) << "\n";
    }
    return at(name);
  }
  int compare(const std::string& a, const std::string& b, double alpha = 0.01) {
    CompareLine line;
    line.files = {a, b};
    line.alpha = alpha;
    return code_of(line);
  }
};

TEST_F(CompareFilesCommand, AWatchedFigureThatGrewIsWorse) {
  const auto fast = file("fast", "writer", 1e9);
  const auto slow = file("slow", "writer", 2e9);
  EXPECT_EQ(compare(fast, slow), kExitFailed);
  EXPECT_EQ(said_,
            "\nwriter, godwit hybrid: 7 and 7 runs\n"
            "                   A median (range)           B median (range)    B/A       p\n"
            "total_ns  1.00 s (1.00 s .. 1.01 s)  2.00 s (2.00 s .. 2.01 s)  1.997  0.0006  WORSE\n"
            "\n1 of 1 points got worse. Watched: total, downtime, guest gap, CPU; 1 comparisons at "
            "alpha 0.01: 0.0 false alarms are to be expected.\n");
  ASSERT_EQ(rows("file-comparison").size(), 1U);
  EXPECT_EQ(json_text(rows("file-comparison")[0].at("figures").at("wire_bytes")),
            R"({"a":{"median":1024.0,"min":1024.0,"max":1024.0},)"
            R"("b":{"median":1024.0,"min":1024.0,"max":1024.0},)"
            R"("ratio":1.0,"p":1.0,"different":false,"watched":false,"worse":false})");
  EXPECT_EQ(compare(slow, fast), kExitOk);
  EXPECT_NE(said_.find("better"), std::string::npos) << said_;
  EXPECT_EQ(compare(fast, slow, 0.0001), kExitOk);
  EXPECT_NE(said_.find("take more --runs"), std::string::npos) << said_;
}

TEST_F(CompareFilesCommand, WhatCannotBeComparedIsSaid) {
  const auto one = file("one", "writer", 1e9);
  EXPECT_EQ(compare(one, file("two", "reader", 1e9)), kExitUsage);
  EXPECT_NE(errors_.find("have no point in common"), std::string::npos) << errors_;
  std::ofstream(at("none")) << "\n";
  EXPECT_EQ(compare(one, at("none")), kExitUsage);
  EXPECT_NE(errors_.find("has no row of kind 'run'"), std::string::npos) << errors_;
  EXPECT_EQ(compare(one, at("nowhere")), kExitEnvironment);
}

}  // namespace
}  // namespace godwit::lab
