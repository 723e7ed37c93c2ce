#include "page/gnuplot.h"

#include <cstdlib>
#include <string>

#include <gtest/gtest.h>

#include "page/chart.h"

namespace godwit::lab {
namespace {

/// PATH as it was, again at the end.
class Path {
 public:
  explicit Path(const char* value) : before_(std::getenv("PATH")) { ::setenv("PATH", value, 1); }
  ~Path() { ::setenv("PATH", before_.c_str(), 1); }
  Path(const Path&) = delete;
  Path& operator=(const Path&) = delete;

 private:
  std::string before_;
};

TEST(Gnuplot, WhatToInstallIsSaidWhenThereIsNone) {
  const Path path("/nonexistent:relative:");
  const auto gnuplot = Gnuplot::find();
  ASSERT_FALSE(gnuplot);
  EXPECT_EQ(gnuplot.error().code, ErrorCode::kUnsupported);
  EXPECT_NE(gnuplot.error().message().find("gnuplot-nox"), std::string::npos);
}

TEST(Gnuplot, DrawsWhatAChartSaysAndTellsWhatIsWrong) {
  const auto gnuplot = Gnuplot::find();
  if (!gnuplot) {
    GTEST_SKIP() << gnuplot.error().message();
  }
  const Chart chart{"x",
                    "t",
                    "a",
                    "c",
                    {"time", Unit::kNs, Scale::kLog},
                    {"share", Unit::kShare, Scale::kNines},
                    {{"dots", 1, Mark::kDots, {{2e6, 0.99}, {3e6, 0.5}}},
                     {"steps", 2, Mark::kSteps, {{2e6, 0.99}, {3e6, 0.5}}}},
                    {{"band", 1, 2.1e6, 2.2e6}}};
  const auto svg = gnuplot->run(script_of(chart), -1);
  ASSERT_TRUE(svg) << svg.error().message();
  const auto drawn = svg_for_page(*svg, "x");
  for (const auto* part :
       {"var(--c1)", "var(--c2)", "var(--ink)", "var(--grid)", "var(--shade1)", "99 %"}) {
    EXPECT_NE(drawn.find(part), std::string::npos) << part;
  }
  const auto broken = gnuplot->run("plot nonsense\n", -1);
  ASSERT_FALSE(broken);
  EXPECT_NE(broken.error().message().find("nonsense"), std::string::npos);
}

}  // namespace
}  // namespace godwit::lab
