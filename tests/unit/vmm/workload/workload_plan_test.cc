#include "workload/workload_plan.h"

#include <unistd.h>

#include <numeric>

#include <gtest/gtest.h>

#include "common/guest_memory.h"

namespace godwit::vmm {
namespace {

GuestConfig config_of(std::uint64_t memory, std::uint64_t populated, std::uint32_t vcpus = 1) {
  GuestConfig config;
  config.memory_bytes = memory;
  config.populated_bytes = populated;
  config.working_set_bytes = populated;
  config.vcpus = vcpus;
  return config;
}

TEST(WorkloadPlan, PartsFollowEachOtherAndFillThePopulatedBytes) {
  for (const std::uint64_t reserved : {0U, 1U, 77U}) {
    for (std::uint64_t populated = 8 * kMiB; populated < 16 * kMiB; populated += 52 * kPageBytes) {
      const auto plan = plan_workload(config_of(16 * kMiB, populated, 2), reserved, 1'000'000'000);
      ASSERT_TRUE(plan) << plan.error().message();
      EXPECT_EQ(plan->params_page, reserved);
      EXPECT_EQ(plan->blocks_page, reserved + 1);
      EXPECT_EQ(plan->table_page, reserved + 3);
      EXPECT_GE((plan->data_page - plan->table_page) * 1024, plan->data_pages);
      EXPECT_LE(plan->first_hole(), plan->populated_pages);
      EXPECT_GE(plan->first_hole() + 1, plan->populated_pages);
      EXPECT_LE(plan->params.working_set_pages, plan->data_pages / 2);
    }
  }
}

TEST(WorkloadPlan, DataPagesSkipTheHoleBetweenRegions) {
  const auto plan = plan_workload(config_of(2 * kGiB, 2 * kGiB), 16, 1'000'000'000);
  ASSERT_TRUE(plan);
  const auto regions = region_layout(2 * kGiB);
  ASSERT_EQ(plan->params.segment_count, 2U);
  for (const auto page : {std::uint64_t{0},
                          plan->params.segments[1].first_page - 1,
                          plan->params.segments[1].first_page,
                          plan->data_pages - 1}) {
    EXPECT_EQ(guest::data_page_gpa(plan->params, page),
              gpa_of_page(regions, plan->data_page + page));
  }
}

TEST(WorkloadPlan, ZipfStrideIsAPermutationAndWeightsEndAtOne) {
  for (const std::uint64_t kib : {4096U, 4100U, 8000U, 12288U}) {
    auto config = config_of(16 * kMiB, 16 * kMiB);
    config.working_set_bytes = kib * kKiB;
    const auto plan = plan_workload(config, 0, 1'000'000'000);
    ASSERT_TRUE(plan);
    EXPECT_EQ(std::gcd(plan->params.zipf_stride, plan->params.working_set_pages), 1U);
    const auto count = plan->params.zipf_octave_count;
    EXPECT_LE((1ULL << (count - 1)), plan->params.working_set_pages);
    EXPECT_EQ(plan->params.zipf_octaves[count - 1], UINT32_MAX);
    for (std::uint32_t i = 1; i < count; ++i) {
      EXPECT_GT(plan->params.zipf_octaves[i], plan->params.zipf_octaves[i - 1]);
    }
  }
}

TEST(Holes, APopulatedHoleMustReadZeroAndNoneIsFilled) {
  const auto config = config_of(16 * kMiB, 8 * kMiB);
  const auto plan = plan_workload(config, 0, 1'000'000'000);
  auto memory = OwnedMemory::create(region_layout(config.memory_bytes), Backing::kMemfd, {});
  ASSERT_TRUE(plan && memory);
  const auto& region = memory->view().regions[0];
  SweepResult result;
  ASSERT_TRUE(check_holes(*plan, memory->view(), *memory->populated(), result));
  EXPECT_EQ(result.pages_checked, 4096 - plan->first_hole());
  EXPECT_EQ(result.mismatches, 0U);
  EXPECT_LT(::lseek(region.fd, 0, SEEK_DATA), 0);

  const char zero = 0;
  const char one = 1;
  ASSERT_EQ(::pwrite(region.fd, &zero, 1, 3000 * 4096), 1);
  ASSERT_EQ(::pwrite(region.fd, &one, 1, 3500 * 4096 + 77), 1);
  ASSERT_EQ(::pwrite(region.fd, &one, 1, 4095 * 4096), 1);
  result = {};
  ASSERT_TRUE(check_holes(*plan, memory->view(), *memory->populated(), result));
  EXPECT_EQ(result.mismatches, 2U);
  EXPECT_EQ(result.first_bad_page, 3500U);
}

TEST(Holes, OfAnonymousMemoryAreCheckedTheSameWay) {
  const auto config = config_of(16 * kMiB, 8 * kMiB);
  const auto plan = plan_workload(config, 0, 1'000'000'000);
  auto memory = OwnedMemory::create(region_layout(config.memory_bytes), Backing::kAnonymous, {});
  ASSERT_TRUE(plan && memory);
  auto* bytes = memory->view().regions[0].guest;
  for (const auto touched : {3000 * 4096, 3500 * 4096 + 77, 4095 * 4096}) {
    bytes[touched] = std::byte{1};
  }
  bytes[3000 * 4096] = std::byte{0};
  SweepResult result;
  ASSERT_TRUE(check_holes(*plan, memory->view(), *memory->populated(), result));
  EXPECT_EQ(result.pages_checked, 4096 - plan->first_hole());
  EXPECT_EQ(result.mismatches, 2U);
  EXPECT_EQ(result.first_bad_page, 3500U);
  std::uint64_t populated = 0;
  ASSERT_TRUE(memory->populated()->scan([&](PageRun run) { populated += run.count; }));
  EXPECT_EQ(populated, 3U) << "the check filled something";
}

}  // namespace
}  // namespace godwit::vmm
