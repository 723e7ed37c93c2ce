#include "ground/table.h"

#include <gtest/gtest.h>

namespace godwit::lab {
namespace {

TEST(Table, ColumnsAreAsWideAsTheirWidestCell) {
  struct Case {
    std::vector<std::vector<std::string>> rows;
    const char* text;
  };
  const std::vector<Case> cases{
      {{}, ""},
      {{{"alone"}}, "alone\n"},
      {{{"", "median"}, {"total_ns", "5 s"}}, "          median\ntotal_ns     5 s\n"},
      {{{"a", "1", ""}, {"b", "22", ""}}, "a   1\nb  22\n"},   // nothing behind the last cell
      {{{"short"}, {"x", "y", "z"}}, "short\nx      y  z\n"},  // rows of different lengths
  };
  for (const auto& one : cases) {
    EXPECT_EQ(table(one.rows), one.text);
  }
}

}  // namespace
}  // namespace godwit::lab
