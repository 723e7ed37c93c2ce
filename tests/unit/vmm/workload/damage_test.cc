#include "godwit/vmm/damage.h"

#include <algorithm>
#include <set>

#include <gtest/gtest.h>

#include "godwit/base/units.h"

#include "kvm/kvm_boot.h"
#include "workload/workload_plan.h"

namespace godwit::vmm {
namespace {

struct Case {
  const char* name;
  GuestKind kind;
  std::uint64_t memory_bytes;
  std::uint64_t populated_bytes;
  std::uint64_t working_set_bytes;
  std::uint32_t vcpus;
  Fill fill;
  bool all_rewritten;  ///< the workload touches every data page
};

GuestConfig config_of(const Case& one, std::uint64_t seed) {
  GuestConfig config;
  config.kind = one.kind;
  config.memory_bytes = one.memory_bytes;
  config.populated_bytes = one.populated_bytes;
  config.working_set_bytes = one.working_set_bytes;
  config.vcpus = one.vcpus;
  config.fill = one.fill;
  config.seed = seed;
  return config;
}

class Damage : public testing::TestWithParam<Case> {
 protected:
  static WorkloadPlan plan_of(const GuestConfig& config) {
    const auto reserved = config.kind == GuestKind::kKvm ? plan_boot(config).reserved_pages : 0;
    return plan_workload(config, reserved, 1'000'000'000).value();
  }
  /// Whether the workload rewrites data page `page` once the guest has filled its memory.
  static bool rewritten(const WorkloadPlan& plan, std::uint64_t page) {
    for (std::uint32_t vcpu = 0; vcpu < plan.params.vcpus; ++vcpu) {
      const auto slice = guest::slice_of(plan.data_pages, plan.params.vcpus, vcpu);
      if (page >= slice.first && page < slice.end) {
        return page - slice.first < plan.params.working_set_pages;
      }
    }
    return false;
  }
};

TEST_P(Damage, HitsADataPageWithBytesThatNobodyHeals) {
  std::set<std::uint64_t> hit;
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    const auto config = config_of(GetParam(), seed);
    const auto plan = plan_of(config);
    const auto chosen = page_to_damage(config);
    ASSERT_TRUE(chosen) << chosen.error().message();
    const auto page = global_page(config, *chosen);
    ASSERT_GE(page, plan.data_page);
    ASSERT_LT(page, plan.first_hole());
    EXPECT_NE(guest::fill_of_page(static_cast<std::uint32_t>(config.fill), page - plan.data_page),
              guest::kFillZero);
    EXPECT_EQ(rewritten(plan, page - plan.data_page), GetParam().all_rewritten);
    EXPECT_EQ(page_to_damage(config).value(), *chosen) << "the seed alone decides";
    hit.insert(page);
  }
  EXPECT_GT(hit.size(), 25U) << "the seed decides";
}

TEST_P(Damage, PagesToLoseAreThoseOfTheWorkingSet) {
  const auto config = config_of(GetParam(), 1);
  const auto plan = plan_of(config);
  const auto runs = pages_to_lose(config);
  ASSERT_TRUE(runs) << runs.error().message();
  std::uint64_t pages = 0;
  for (const auto& run : *runs) {
    pages += run.count;
    for (const auto index : {run.first, run.end() - 1}) {
      const auto page = global_page(config, {run.region, index});
      EXPECT_TRUE(rewritten(plan, page - plan.data_page)) << page;
    }
  }
  std::uint64_t expected = 0;
  for (std::uint64_t page = 0; page < plan.data_pages; ++page) {
    expected += rewritten(plan, page) ? 1 : 0;
  }
  EXPECT_EQ(pages, expected);
}

constexpr auto kKvm = GuestKind::kKvm;
constexpr auto kProcess = GuestKind::kProcess;

INSTANTIATE_TEST_SUITE_P(
    Guests,
    Damage,
    testing::Values(
        Case{"Kvm", kKvm, 64 * kMiB, 64 * kMiB, 16 * kMiB, 1, Fill::kRandom, false},
        Case{"Process", kProcess, 64 * kMiB, 64 * kMiB, 16 * kMiB, 1, Fill::kRandom, false},
        Case{"Sparse", kProcess, 64 * kMiB, 8 * kMiB, 2 * kMiB, 2, Fill::kRandom, false},
        Case{"Slices", kKvm, 64 * kMiB, 64 * kMiB, 16 * kMiB, 4, Fill::kCompressible, false},
        Case{
            "Alternating", kProcess, 64 * kMiB, 64 * kMiB, 16 * kMiB, 1, Fill::kAlternating, false},
        Case{"AllTouched", kProcess, 16 * kMiB, 16 * kMiB, 16 * kMiB, 1, Fill::kRandom, true},
        Case{"TwoRegions", kProcess, 2 * kGiB, 2 * kGiB, 512 * kMiB, 2, Fill::kRandom, false}),
    [](const auto& one) { return one.param.name; });

TEST(GlobalPage, CountsThroughTheRegions) {
  GuestConfig config;
  config.memory_bytes = 4 * kGiB;
  const auto first = region_layout(config.memory_bytes)[0].page_count;
  EXPECT_EQ(global_page(config, {0, 7}), 7U);
  EXPECT_EQ(global_page(config, {1, 0}), first);
  EXPECT_EQ(global_page(config, {1, 9}), first + 9);
}

}  // namespace
}  // namespace godwit::vmm
