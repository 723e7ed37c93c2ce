#include <algorithm>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>

#include "machine_support.h"

// The machine by itself: every workload, pausing, checking itself, dirty tracking.

namespace godwit::vmm {
namespace {

class EveryWorkload : public ::testing::TestWithParam<std::tuple<Workload, std::uint32_t>> {};

TEST_P(EveryWorkload, FillsRunsAndSweepsClean) {
  GODWIT_NEED_KVM();
  auto config = small_kvm_config();
  config.workload = std::get<0>(GetParam());
  config.vcpus = std::get<1>(GetParam());
  auto guest = make(config);
  ASSERT_OK(guest);
  ASSERT_OK((*guest)->boot());
  EXPECT_EQ((*guest)->boot().error().code, ErrorCode::kState);
  let_run(std::chrono::milliseconds(200));
  expect_clean_sweep(**guest);
  EXPECT_TRUE((*guest)->filled());
  ASSERT_TRUE(wait_steps(**guest, 3)) << "the workload goes on after a sweep";
  expect_no_errors(**guest);
  const auto telemetry = (*guest)->telemetry();
  for (const auto& vcpu : telemetry.vcpus) {
    EXPECT_GT(vcpu.steps, 10U);
    EXPECT_GT(vcpu.last_step_ns, vcpu.first_step_ns);
    // The guest's counter runs with the host's clock.
    const auto host_ns = static_cast<double>(vcpu.last_step_ns - vcpu.first_step_ns);
    const auto guest_ns = static_cast<double>(vcpu.last_counter - vcpu.first_counter) * 1e9 /
                          static_cast<double>(telemetry.counter_hz);
    EXPECT_NEAR(guest_ns / host_ns, 1.0, 0.05);
  }
}

INSTANTIATE_TEST_SUITE_P(KvmMachine,
                         EveryWorkload,
                         ::testing::Combine(::testing::Values(Workload::kIdle,
                                                              Workload::kSequentialWrite,
                                                              Workload::kRandomWrite,
                                                              Workload::kZipfWrite,
                                                              Workload::kRandomRead,
                                                              Workload::kSequentialRead),
                                            ::testing::Values(1U, 2U)));

class EveryFill : public ::testing::TestWithParam<Fill> {};

TEST_P(EveryFill, SweepsClean) {
  GODWIT_NEED_KVM();
  auto config = small_kvm_config();
  config.fill = GetParam();
  auto guest = make(config);
  ASSERT_OK(guest);
  ASSERT_OK((*guest)->boot());
  expect_clean_sweep(**guest);
  expect_no_errors(**guest);
}

INSTANTIATE_TEST_SUITE_P(
    KvmMachine,
    EveryFill,
    ::testing::Values(Fill::kRandom, Fill::kCompressible, Fill::kZero, Fill::kAlternating));

TEST(KvmMachine, KeepsItsRate) {
  GODWIT_NEED_KVM();
  auto config = small_kvm_config();
  config.rate_bytes_per_s = 20 * kMiB;
  auto guest = make(config);
  ASSERT_OK(guest);
  ASSERT_OK((*guest)->boot());
  expect_clean_sweep(**guest);
  ASSERT_TRUE(wait_steps(**guest, 20));
  expect_no_errors(**guest);
}

TEST(KvmMachine, PopulatesExactlyWhatItWasTold) {
  GODWIT_NEED_KVM();
  auto guest = make(small_kvm_config());
  ASSERT_OK(guest);
  ASSERT_OK((*guest)->boot());
  expect_clean_sweep(**guest);
  ASSERT_OK((*guest)->quiesce());
  std::uint64_t pages = 0;
  ASSERT_OK((*guest)->populated().scan([&](PageRun run) { pages += run.count; }));
  EXPECT_EQ(pages, small_kvm_config().populated_bytes / kPageBytes);
}

class Pausing : public ::testing::TestWithParam<std::uint32_t> {};

TEST_P(Pausing, ThousandTimesUnderLoad) {
  GODWIT_NEED_KVM();
  auto config = small_kvm_config();
  config.vcpus = GetParam();
  auto guest = make(config);
  ASSERT_OK(guest);
  ASSERT_OK((*guest)->boot());
  std::int64_t last = 0;
  for (int round = 0; round < 1000; ++round) {
    const auto edge = (*guest)->quiesce();
    ASSERT_OK(edge);
    ASSERT_LE(edge->first_ns, edge->last_ns);
    ASSERT_GE(edge->last_ns, last);
    last = edge->last_ns;
    ASSERT_OK((*guest)->resume());
    if (round % 50 == 0) {
      ASSERT_TRUE(wait_steps(**guest, 1));
    }
  }
  ASSERT_OK((*guest)->resume());  // legal while it runs
  expect_clean_sweep(**guest);
  expect_no_errors(**guest);
}

INSTANTIATE_TEST_SUITE_P(KvmMachine, Pausing, ::testing::Values(1U, 2U));

TEST(KvmMachine, SweepFindsAPlantedBitFlipAndNamesThePage) {
  GODWIT_NEED_KVM();
  auto config = small_kvm_config();
  config.workload = Workload::kIdle;
  auto guest = make(config);
  ASSERT_OK(guest);
  ASSERT_OK((*guest)->boot());
  expect_clean_sweep(**guest);
  ASSERT_OK((*guest)->quiesce());
  const auto page = config.populated_bytes / kPageBytes - 100;
  (*guest)->memory().page({0, page})[1234] ^= std::byte{4};
  ASSERT_OK((*guest)->resume());
  const auto swept = (*guest)->sweep(Deadline::after_ns(kPatienceNs));
  ASSERT_OK(swept);
  EXPECT_EQ(swept->mismatches, 1U);
  EXPECT_EQ(swept->first_bad_page, page);
  EXPECT_EQ((*guest)->telemetry().guest_errors, 1U);
  EXPECT_NE((*guest)->telemetry().first_error.find(std::to_string(page)), std::string::npos)
      << (*guest)->telemetry().first_error;
}

TEST(KvmMachine, SweepFindsAPageInAHole) {
  GODWIT_NEED_KVM();
  auto guest = make(small_kvm_config());
  ASSERT_OK(guest);
  ASSERT_OK((*guest)->boot());
  expect_clean_sweep(**guest);
  const auto page = small_kvm_config().populated_bytes / kPageBytes + 10;
  (*guest)->memory().page({0, page})[0] = std::byte{1};
  const auto swept = (*guest)->sweep(Deadline::after_ns(kPatienceNs));
  ASSERT_OK(swept);
  EXPECT_EQ(swept->mismatches, 1U);
  EXPECT_EQ(swept->first_bad_page, page);
}

TEST(KvmMachine, RefusesWhatItsPhaseForbids) {
  GODWIT_NEED_KVM();
  auto guest = make(small_kvm_config());
  ASSERT_OK(guest);
  EXPECT_EQ((*guest)->quiesce().error().code, ErrorCode::kState);
  EXPECT_EQ((*guest)->save_state().error().code, ErrorCode::kState);
  EXPECT_EQ((*guest)->run().error().code, ErrorCode::kState);
  EXPECT_EQ((*guest)->sweep(Deadline::never()).error().code, ErrorCode::kState);
  ASSERT_OK((*guest)->boot());
  EXPECT_EQ((*guest)->save_state().error().code, ErrorCode::kState) << "it runs";
  (*guest)->stop();
  (*guest)->stop();
  EXPECT_EQ((*guest)->resume().error().code, ErrorCode::kState);
}

TEST(KvmMachine, ReachesASecondRegion) {
  GODWIT_NEED_KVM();
  auto config = small_kvm_config();
  config.memory_bytes = 2 * kGiB;
  config.populated_bytes = kGiB + 8 * kMiB;
  config.workload = Workload::kSequentialRead;
  auto guest = make(config);
  ASSERT_OK(guest);
  ASSERT_EQ((*guest)->memory().regions.size(), 2U);
  EXPECT_GE((*guest)->memory().regions[1].gpa, 4 * kGiB);
  ASSERT_OK((*guest)->boot());
  expect_clean_sweep(**guest);
  expect_no_errors(**guest);
}

TEST(KvmMachine, PlansLargeMachinesByTheirPopulatedMemory) {
  GODWIT_NEED_KVM();
  auto config = small_kvm_config();
  config.memory_bytes = 64 * kGiB;
  auto guest = make(config);
  ASSERT_OK(guest);
  ASSERT_OK((*guest)->boot());
  expect_clean_sweep(**guest);
  expect_no_errors(**guest);
}

}  // namespace
}  // namespace godwit::vmm
