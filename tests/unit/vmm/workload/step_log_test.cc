#include "workload/step_log.h"

#include <gtest/gtest.h>

namespace godwit::vmm {
namespace {

StepLog::Doorbell bell(std::uint64_t step, std::int64_t at_ns, std::uint64_t longest = 0) {
  StepLog::Doorbell out;
  out.step = step;
  out.counter = static_cast<std::uint64_t>(at_ns) * 2;
  out.longest_ticks = longest;
  out.stamp_ns = at_ns;
  return out;
}

TEST(StepLog, CountsStepsAndTheLargestOne) {
  StepLog log(1, 2'000'000'000);
  log.doorbell(0, bell(1, 1000, 600));
  log.doorbell(0, bell(2, 1100));
  log.doorbell(0, bell(3, 1900));
  auto vcpu = log.telemetry().vcpus[0];
  EXPECT_EQ(vcpu.steps, 3U);
  EXPECT_EQ(vcpu.first_step_ns, 1000);
  EXPECT_EQ(vcpu.first_step_faults_ns, 300);
  EXPECT_EQ(vcpu.largest_step_ns, 800);
  log.reset_stall();
  log.doorbell(0, bell(4, 2000));
  EXPECT_EQ(log.telemetry().vcpus[0].largest_step_ns, 100);
  EXPECT_EQ(log.telemetry().guest_errors, 0U);
}

TEST(StepLog, BooksTouchesOfAllVcpusByTheirDoorbells) {
  constexpr auto kInterval = Throughput::kIntervalNs;
  StepLog source(2, 1'000'000'000);
  const auto ring =
      [](StepLog& log, std::uint32_t vcpu, std::uint64_t step, std::int64_t at, std::uint64_t all) {
        auto one = bell(step, at);
        one.touches = all;
        log.doorbell(vcpu, one);
      };
  ring(source, 0, 1, 5 * kInterval, 30);
  ring(source, 0, 2, 6 * kInterval - 1, 40);
  ring(source, 0, 3, 6 * kInterval, 100);
  ring(source, 1, 1, 6 * kInterval, 7);
  EXPECT_EQ(source.throughput(4, 8).touches, (std::vector<std::uint64_t>{0, 40, 67, 0}));
  source.reset_stall();  // what was before a migration is a part of its picture
  EXPECT_EQ(source.throughput(5, 7).touches, (std::vector<std::uint64_t>{40, 67}));
  // The target counts from where the source stopped, and has only what happened there.
  StepLog target(2, 1'000'000'000);
  ASSERT_TRUE(target.load(source.save()));
  ring(target, 0, 4, 8 * kInterval, 101);
  ring(target, 1, 2, 9 * kInterval, 5);  // a count that went back is no work
  ring(target, 1, 3, 9 * kInterval, 8);
  EXPECT_EQ(target.throughput(6, 10).touches, (std::vector<std::uint64_t>{0, 0, 1, 3}));
  EXPECT_EQ(target.throughput(0, 70'000).first, 70'000 - ThroughputBook::kIntervals);
  EXPECT_TRUE(target.throughput(9, 8).touches.empty());
}

TEST(StepLog, AHoleOrACounterThatGoesBackIsAnError) {
  StepLog log(1, 2'000'000'000);
  log.doorbell(0, bell(1, 1000));
  log.doorbell(0, bell(3, 1100));
  auto telemetry = log.telemetry();
  EXPECT_EQ(telemetry.step_holes, 1U);
  EXPECT_EQ(telemetry.guest_errors, 1U);
  EXPECT_NE(telemetry.first_error.find("step 3 follows step 1"), std::string::npos);
  log.doorbell(0, bell(4, 900));
  EXPECT_EQ(log.telemetry().guest_errors, 2U);
  EXPECT_EQ(log.telemetry().step_holes, 1U);
}

TEST(StepLog, GoesOnAtTheTargetWhereItStopped) {
  StepLog source(2, 2'000'000'000);
  source.doorbell(0, bell(1, 1000));
  source.doorbell(1, bell(1, 1001));
  source.doorbell(1, bell(2, 1101));
  StepLog target(2, 2'000'000'000);
  ASSERT_TRUE(target.load(source.save()));
  EXPECT_EQ(target.telemetry().vcpus[1].first_step_ns, 0);
  target.entering(4200);
  target.doorbell(0, bell(2, 5000));
  target.doorbell(1, bell(3, 6000));
  target.doorbell(1, bell(4, 7000));
  const auto telemetry = target.telemetry();
  EXPECT_EQ(telemetry.guest_errors, 0U);
  EXPECT_EQ(telemetry.vcpus[0].previous_step_ns, 1000);
  EXPECT_EQ(telemetry.vcpus[0].first_step_ns, 5000);
  EXPECT_EQ(telemetry.vcpus[0].first_step_here_ns, 800);
  EXPECT_EQ(telemetry.vcpus[1].first_step_here_ns, 1800);
  EXPECT_EQ(telemetry.vcpus[1].previous_counter, 2202U);
  EXPECT_EQ(telemetry.vcpus[1].largest_step_ns, 4899);  // same boot: the blackout is a stall
}

TEST(StepLog, RefusesADamagedState) {
  StepLog source(2, 1000);
  const auto good = source.save();
  StepLog target(2, 1000);
  for (std::size_t size = 0; size < good.payload.size(); ++size) {
    auto bad = good;
    bad.payload.resize(size);
    EXPECT_EQ(target.load(bad).error().code, ErrorCode::kRefused);
  }
  auto bad = good;
  bad.version = 9;
  EXPECT_FALSE(target.check(bad));
  StepLog other(3, 1000);
  EXPECT_FALSE(other.check(good));
}

TEST(StepLog, APauseInsideATouchIsNotItsTime) {
  StepLog source(1, 1'000'000'000);
  source.doorbell(0, bell(1, 500'000));
  StepLog target(1, 1'000'000'000);
  ASSERT_TRUE(target.load(source.save()));
  target.pause(0, 2'000'000, 9'000'000);
  // One slow touch ended at the source; one began there, was cut by the blackout and faulted for 30
  // us here.
  const guest::SlowTouch slow[] = {{1'990'000, 8'000}, {9'030'000, 7'035'000}};
  auto first = bell(2, 9'030'000);
  first.longest_ticks = 7'035'000;
  first.slow = slow;
  target.doorbell(0, first);
  const auto telemetry = target.telemetry();
  EXPECT_EQ(telemetry.vcpus[0].first_step_faults_ns, 35'000);
  EXPECT_EQ(telemetry.slow_touches.count(), 1U);
  EXPECT_EQ(telemetry.slow_touches.max(), 35'000U);
}

}  // namespace
}  // namespace godwit::vmm
