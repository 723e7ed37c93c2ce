#include "books/fault_log.h"

#include <gtest/gtest.h>

namespace godwit::engine {
namespace {

TEST(FaultLog, CountsAllAndKeepsTheFirst) {
  FaultLog log(2);
  for (std::int64_t i = 1; i <= 5; ++i) {
    log.note({1, static_cast<std::uint64_t>(i)}, 100 * i, 100 * i + 7);
  }
  EXPECT_EQ(log.latencies().count(), 5U);
  EXPECT_EQ(log.latencies().max(), 7U);
  ASSERT_EQ(log.kept().size(), 2U);
  EXPECT_EQ(log.kept()[1].page, (PageId{1, 2}));
  EXPECT_EQ(log.kept()[1].read_ns, 200);
  EXPECT_EQ(log.kept()[1].woken_ns, 207);
}

TEST(FaultLog, KeepsNothingUnlessTold) {
  FaultLog log(0);
  log.note({0, 1}, 1, 2);
  EXPECT_EQ(log.latencies().count(), 1U);
  EXPECT_TRUE(log.kept().empty());
}

TEST(FaultLog, TheEarliestOfSeveralThreadsAreLeftInOrder) {
  std::vector<TraceFault> faults{{{0, 1}, 30, 40}, {{0, 2}, 10, 50}, {{0, 3}, 20, 21}};
  keep_earliest(faults, 2);
  ASSERT_EQ(faults.size(), 2U);
  EXPECT_EQ(faults[0].page.index, 2U);
  EXPECT_EQ(faults[1].page.index, 3U);
  keep_earliest(faults, 5);
  EXPECT_EQ(faults.size(), 2U);
}

}  // namespace
}  // namespace godwit::engine
