#include "workload/workload_plan.h"

#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <numeric>

#include <fmt/format.h>

namespace godwit::vmm {
namespace {

constexpr std::uint64_t kTableEntriesPage = kPageBytes / sizeof(std::uint32_t);
constexpr double kZipfTheta = 0.99;
/// Beyond it the products in VcpuWorkload::time_ahead() could overflow; a touch every few minutes
/// is slow enough.
constexpr std::uint64_t kTouchPeriodMaxQ8 = 1ULL << 47;

std::uint64_t pages_for(std::uint64_t entries) {
  return (entries + kTableEntriesPage - 1) / kTableEntriesPage;
}

/// Sum of rank^-theta for ranks first .. end-1 (from 1). Exact for small ranks, by the integral
/// where it is as good.
double zipf_weight(std::uint64_t first, std::uint64_t end) {
  if (first >= 4096) {
    const double power = 1.0 - kZipfTheta;
    return (std::pow(static_cast<double>(end) - 0.5, power) -
            std::pow(static_cast<double>(first) - 0.5, power)) /
           power;
  }
  double sum = 0;
  for (auto rank = first; rank < end; ++rank) {
    sum += std::pow(static_cast<double>(rank), -kZipfTheta);
  }
  return sum;
}

void plan_zipf(guest::WorkloadParams& params) {
  const auto pages = params.working_set_pages;
  std::array<double, guest::kZipfOctaves> cumulative{};
  double sum = 0;
  std::uint32_t count = 0;
  for (; count < guest::kZipfOctaves && (1ULL << count) <= pages; ++count) {
    sum += zipf_weight(1ULL << count, std::min<std::uint64_t>(2ULL << count, pages + 1));
    cumulative[count] = sum;
  }
  params.zipf_octave_count = count;
  for (std::uint32_t i = 0; i < count; ++i) {
    params.zipf_octaves[i] = static_cast<std::uint32_t>(cumulative[i] / sum * 4294967295.0);
  }
  // Near the golden section, so that neighbouring ranks lie far apart; coprime, so that the spread
  // is a permutation.
  auto stride = std::max<std::uint64_t>(
      1, static_cast<std::uint64_t>(static_cast<double>(pages) * 0.6180339887));
  while (std::gcd(stride, pages) != 1) {
    ++stride;
  }
  params.zipf_stride = stride;
}

std::uint64_t touch_period_q8(const GuestConfig& config, std::uint64_t counter_hz) {
  if (config.rate_bytes_per_s == 0) {
    return 0;
  }
  const double touches_per_s =
      static_cast<double>(config.rate_bytes_per_s) / static_cast<double>(kPageBytes * config.vcpus);
  const double period = 256.0 * static_cast<double>(counter_hz) / touches_per_s;
  return static_cast<std::uint64_t>(std::min(period, static_cast<double>(kTouchPeriodMaxQ8)));
}

/// Splits the data pages at the regions' borders.
void plan_segments(WorkloadPlan& plan,
                   const std::vector<engine::MachineDescription::Region>& regions) {
  std::uint64_t before = 0;
  for (const auto& region : regions) {
    const auto first = std::max(before, plan.data_page);
    const auto end = std::min(before + region.page_count, plan.first_hole());
    if (first < end) {
      auto& segment = plan.params.segments[plan.params.segment_count++];
      segment.first_page = first - plan.data_page;
      segment.gpa = region.gpa + (first - before) * kPageBytes;
    }
    before += region.page_count;
  }
}

/// Checks populated pages that must read zero. `before`: memory pages in the regions before theirs.
Status check_hole_run(const engine::GuestMemory& memory,
                      PageRun run,
                      std::uint64_t before,
                      SweepResult& result) {
  const auto& region = memory.regions[run.region];
  std::array<std::byte, kPageBytes> page{};
  const std::array<std::byte, kPageBytes> zero{};
  for (auto index = run.first; index < run.end(); ++index) {
    const std::byte* content = memory.page({run.region, index});
    if (region.fd >= 0) {
      // Through the file: reading by the mapping would fill its page table.
      const auto offset = static_cast<off_t>(region.offset + index * kPageBytes);
      const auto got = ::pread(region.fd, page.data(), page.size(), offset);
      if (got != static_cast<ssize_t>(page.size())) {
        return fail_errno(got < 0 ? errno : EIO, "pread of guest memory");
      }
      content = page.data();
    }
    if (std::memcmp(content, zero.data(), zero.size()) != 0) {
      if (result.mismatches == 0 || before + index < result.first_bad_page) {
        result.first_bad_page = before + index;
      }
      ++result.mismatches;
    }
  }
  return {};
}

}  // namespace

std::uint64_t gpa_of_page(const std::vector<engine::MachineDescription::Region>& regions,
                          std::uint64_t page) {
  for (const auto& region : regions) {
    if (page < region.page_count) {
      return region.gpa + page * kPageBytes;
    }
    page -= region.page_count;
  }
  return 0;
}

PageId page_id(const engine::GuestMemory& memory, std::uint64_t page) {
  RegionIndex index = 0;
  while (index + 1 < memory.regions.size() && page >= memory.regions[index].page_count) {
    page -= memory.regions[index].page_count;
    ++index;
  }
  return PageId{index, page};
}

Result<WorkloadPlan> plan_workload(const GuestConfig& config,
                                   std::uint64_t reserved_pages,
                                   std::uint64_t counter_hz) {
  return plan_workload(config, region_layout(config.memory_bytes), reserved_pages, counter_hz);
}

Result<WorkloadPlan> plan_workload(const GuestConfig& config,
                                   const std::vector<engine::MachineDescription::Region>& regions,
                                   std::uint64_t reserved_pages,
                                   std::uint64_t counter_hz) {
  GODWIT_TRY(validate(config));
  WorkloadPlan plan;
  plan.total_pages = config.memory_bytes / kPageBytes;
  plan.populated_pages = config.populated_bytes / kPageBytes;
  plan.params_page = reserved_pages;
  plan.blocks_page = plan.params_page + 1;
  plan.table_page = plan.blocks_page + config.vcpus;
  // As many data pages as fit together with their table entries.
  const auto left =
      plan.populated_pages > plan.table_page ? plan.populated_pages - plan.table_page : 0;
  plan.data_pages = left * kTableEntriesPage / (kTableEntriesPage + 1);
  while (plan.data_pages > 0 && plan.data_pages + pages_for(plan.data_pages) > left) {
    --plan.data_pages;
  }
  while (plan.data_pages + 1 + pages_for(plan.data_pages + 1) <= left) {
    ++plan.data_pages;
  }
  plan.data_page = plan.table_page + pages_for(plan.data_pages);
  if (plan.data_pages < config.vcpus || plan.data_page > regions[0].page_count) {
    return fail(
        ErrorCode::kInvalidArgument,
        "populated_bytes",
        fmt::format("{} bytes, too little for this guest's own pages", config.populated_bytes));
  }
  plan.params_gpa = gpa_of_page(regions, plan.params_page);

  auto& params = plan.params;
  params.magic = guest::kParamsMagic;
  params.version = guest::kParamsVersion;
  params.vcpus = config.vcpus;
  params.seed = config.seed;
  params.workload = static_cast<std::uint32_t>(config.workload);
  params.fill = static_cast<std::uint32_t>(config.fill);
  params.ticks_per_ms = counter_hz / 1000;
  params.touch_period_q8 = touch_period_q8(config, counter_hz);
  params.table_gpa = gpa_of_page(regions, plan.table_page);
  params.blocks_gpa = gpa_of_page(regions, plan.blocks_page);
  params.data_pages = plan.data_pages;
  params.working_set_pages = std::clamp<std::uint64_t>(
      config.working_set_bytes / kPageBytes / config.vcpus, 1, plan.data_pages / config.vcpus);
  plan_segments(plan, regions);
  plan_zipf(params);
  return plan;
}

void write_workload(const WorkloadPlan& plan, const engine::GuestMemory& memory) {
  std::memcpy(memory.page(page_id(memory, plan.params_page)), &plan.params, sizeof plan.params);
  for (std::uint32_t vcpu = 0; vcpu < plan.params.vcpus; ++vcpu) {
    guest::VcpuBlock block{};
    block.magic = guest::kBlockMagic;
    block.vcpu = vcpu;
    std::memcpy(memory.page(page_id(memory, plan.blocks_page + vcpu)), &block, sizeof block);
  }
  for (auto page = plan.first_hole(); page < plan.populated_pages; ++page) {
    std::memset(memory.page(page_id(memory, page)), 0, kPageBytes);
  }
}

Status check_holes(const WorkloadPlan& plan,
                   const engine::GuestMemory& memory,
                   engine::PopulatedScan& populated,
                   SweepResult& result) {
  std::vector<std::uint64_t> before;
  std::uint64_t pages = 0;
  for (const auto& region : memory.regions) {
    before.push_back(pages);
    pages += region.page_count;
  }
  Status status;
  GODWIT_TRY(populated.scan([&](PageRun run) {
    const auto start = before[run.region] + run.first;
    if (!status || start + run.count <= plan.first_hole()) {
      return;
    }
    const auto skip = plan.first_hole() > start ? plan.first_hole() - start : 0;
    status = check_hole_run(
        memory, {run.region, run.first + skip, run.count - skip}, before[run.region], result);
  }));
  GODWIT_TRY(status);
  result.pages_checked += pages - plan.first_hole();
  return {};
}

}  // namespace godwit::vmm
