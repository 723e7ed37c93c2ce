#include "godwit/base/clock.h"

#include <gtest/gtest.h>

namespace godwit {
namespace {

TEST(Clock, NeverGoesBack) {
  auto last = monotonic_ns();
  for (int i = 0; i < 1000; ++i) {
    const auto now = monotonic_ns();
    ASSERT_GE(now, last);
    last = now;
  }
  EXPECT_GT(realtime_ns(), 1'600'000'000'000'000'000);  // a clock set before 2020 is broken
}

TEST(Clock, CpuTimeRisesWithWork) {
  const auto before = process_cpu_ns();
  volatile unsigned sum = 0;
  while (process_cpu_ns() == before) {
    sum = sum + 1;
  }
  EXPECT_GT(process_cpu_ns(), before);
}

TEST(Clock, BootIdIsStable) {
  EXPECT_FALSE(boot_id().empty());
  EXPECT_EQ(boot_id(), boot_id());
  EXPECT_EQ(boot_id().find('\n'), std::string::npos);
}

TEST(Deadline, NeverPassesWhenNever) {
  const auto never = Deadline::never();
  EXPECT_FALSE(never.passed());
  EXPECT_EQ(never.left_ns(), INT64_MAX);
}

TEST(Deadline, HasPassedAtOnceWhenItLiesBehind) {
  const auto past = Deadline::after_ns(-1);
  EXPECT_TRUE(past.passed());
  EXPECT_EQ(past.left_ns(), 0);
  const auto ahead = Deadline::after_ns(3'600'000'000'000);
  EXPECT_FALSE(ahead.passed());
  EXPECT_GT(ahead.left_ns(), 0);
}

}  // namespace
}  // namespace godwit
