#include "rows/sample.h"

#include <gtest/gtest.h>

namespace godwit::lab {
namespace {

TEST(Samples, RunsWithoutAFigureAreLeftOut) {
  const std::vector<Sample> runs{{{"total_ns", 2}, {"valley", 0.5}},
                                 {{"total_ns", nullptr}},
                                 {{"valley", 0}},
                                 {{"total_ns", "1"}},
                                 {{"total_ns", 1}}};
  EXPECT_EQ(values_of(runs, "total_ns"), (std::vector<double>{2, 1})) << "in order";
  EXPECT_EQ(values_of(runs, "valley"), (std::vector<double>{0.5, 0}));
  EXPECT_TRUE(values_of(runs, "setup_ns").empty());
  EXPECT_TRUE(values_of({}, "total_ns").empty());
}

}  // namespace
}  // namespace godwit::lab
