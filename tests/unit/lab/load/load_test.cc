#include "load/load.h"

#include <chrono>
#include <thread>

#include <gtest/gtest.h>

#include "support/require.h"

namespace godwit::lab {
namespace {

constexpr std::int64_t kLoadNs = 60'000'000'000;

TEST(Load, ToldWhatItsLoopsHadAndWhetherTheyStayed) {
  const auto load = Load::start({.busy = 1}, kLoadNs);
  ASSERT_TRUE(load);
  EXPECT_EQ(load->cgroup_fd(), -1);
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  EXPECT_EQ(load->broken_reason(), "");
  EXPECT_GT(number_at(load->seen(), "/busy_cpu_ns"), 0);
  EXPECT_FALSE(load->seen().contains("periods")) << "there is no quota";
}

TEST(Load, LoopsThatEndEarlyAreNoLoad) {
  const auto load = Load::start({.busy = 1}, 1);
  ASSERT_TRUE(load);
  for (int i = 0; i < 500 && load->broken_reason().empty(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_NE(load->broken_reason().find("ended before the run"), std::string::npos);
}

TEST(Load, AQuotaIsAGroupToJoin) {
  const auto reason = load_unusable_reason({.quota_percent = 150});
  if (!reason.empty()) {
    GODWIT_MISSING("surroundings", reason);
  }
  const auto load = Load::start({.quota_percent = 150}, kLoadNs);
  ASSERT_TRUE(load);
  EXPECT_GE(load->cgroup_fd(), 0);
  EXPECT_EQ(number_at(load->seen(), "/throttled_periods"), 0);
  EXPECT_EQ(load_unusable_reason({}), "");
}

}  // namespace
}  // namespace godwit::lab
