#include "policy/lanes.h"

#include <gtest/gtest.h>

namespace godwit::engine {
namespace {

TEST(LaneCount, HalfOfTheCoresAtLeastTwoAndNeverMoreThanChannels) {
  struct Case {
    std::uint32_t channels;
    std::uint32_t cores;
    std::uint32_t lanes;
  };
  for (const auto& [channels, cores, lanes] : {Case{1, 1, 1},
                                               Case{1, 64, 1},
                                               Case{2, 1, 2},
                                               Case{4, 0, 2},  // a host that does not tell
                                               Case{4, 3, 2},
                                               Case{4, 6, 3},
                                               Case{4, 64, 4},
                                               Case{64, 64, 32}}) {
    EXPECT_EQ(lane_count(channels, cores), lanes) << channels << " channels, " << cores << " cores";
  }
  EXPECT_EQ(lane_count(1), 1U);
}

}  // namespace
}  // namespace godwit::engine
