#include "workload/sweep_control.h"

#include <thread>

#include <gtest/gtest.h>

#include "common/guest_memory.h"

namespace godwit::vmm {
namespace {

class SweepControlTest : public ::testing::Test {
 protected:
  void SetUp() override {
    config_.memory_bytes = 8 * kMiB;
    config_.populated_bytes = 4 * kMiB;
    config_.working_set_bytes = kMiB;
    auto plan = plan_workload(config_, 0, 1'000'000'000);
    auto memory = OwnedMemory::create(region_layout(config_.memory_bytes), Backing::kMemfd, {});
    ASSERT_TRUE(plan && memory);
    plan_ = *plan;
    memory_ = std::move(*memory);
    populated_ = memory_.populated();
  }
  GuestConfig config_;
  WorkloadPlan plan_;
  OwnedMemory memory_;
  std::unique_ptr<engine::PopulatedScan> populated_;
};

TEST_F(SweepControlTest, TimesOutWhileTheGuestIsNotFilled) {
  SweepControl control(1);
  const auto result =
      control.run(Deadline::after_ns(1'000'000), plan_, memory_.view(), *populated_);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kTimeout);
  EXPECT_EQ(control.take_command(0), guest::kCommandNone);
}

TEST_F(SweepControlTest, AddsUpTheVcpusAndGivesEachCommandOnce) {
  SweepControl control(2);
  control.set_filled(0);
  EXPECT_FALSE(control.filled());
  control.set_filled(1);
  EXPECT_TRUE(control.filled());
  std::jthread vcpus([&control] {
    for (std::uint32_t v = 0; v < 2; ++v) {
      while (control.take_command(v) != guest::kCommandSweep) {
        std::this_thread::yield();
      }
      EXPECT_EQ(control.take_command(v), guest::kCommandNone);
      control.done(v, 10, v == 0 ? 0 : 3, v == 0 ? 0 : 55);
      control.done(v, 10, 1, 1);  // a second answer to one sweep does not count
    }
  });
  const auto result =
      control.run(Deadline::after_ns(10'000'000'000), plan_, memory_.view(), *populated_);
  ASSERT_TRUE(result) << result.error().message();
  EXPECT_EQ(result->mismatches, 3U);
  EXPECT_EQ(result->first_bad_page, 55U);
  EXPECT_EQ(result->pages_checked, 20 + plan_.total_pages - plan_.first_hole());
  EXPECT_EQ(result->pages_expected, plan_.total_pages - plan_.data_page);
}

TEST_F(SweepControlTest, StopAnswersEveryDoorbell) {
  SweepControl control(1);
  control.request_stop();
  EXPECT_EQ(control.take_command(0), guest::kCommandStop);
  EXPECT_EQ(control.run(Deadline::never(), plan_, memory_.view(), *populated_).error().code,
            ErrorCode::kState);
}

}  // namespace
}  // namespace godwit::vmm
