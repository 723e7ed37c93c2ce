#include "demo/injection.h"

#include <algorithm>
#include <vector>

#include "godwit/base/random.h"

#include "kvm/kvm_boot.h"
#include "workload/workload_plan.h"

namespace godwit::app {
namespace {

/// Where pages lie does not depend on the counter's frequency, only how fast they are touched.
constexpr std::uint64_t kAnyCounterHz = 1'000'000'000;

/// Memory pages first .. end-1, counted through all regions.
struct Span {
  std::uint64_t first = 0;
  std::uint64_t end = 0;
};

PageId locate(const std::vector<engine::MachineDescription::Region>& regions, std::uint64_t page) {
  RegionIndex index = 0;
  while (index + 1 < regions.size() && page >= regions[index].page_count) {
    page -= regions[index].page_count;
    ++index;
  }
  return PageId{index, page};
}

/// The parts of every vCPU's slice that the workload touches, or those that it does not.
std::vector<Span> slices(const vmm::WorkloadPlan& plan, bool touched) {
  std::vector<Span> spans;
  for (std::uint32_t vcpu = 0; vcpu < plan.params.vcpus; ++vcpu) {
    const auto slice = guest::slice_of(plan.data_pages, plan.params.vcpus, vcpu);
    const auto border = std::min(slice.first + plan.params.working_set_pages, slice.end);
    const Span span = touched ? Span{slice.first, border} : Span{border, slice.end};
    if (span.first < span.end) {
      spans.push_back({plan.data_page + span.first, plan.data_page + span.end});
    }
  }
  return spans;
}

/// Whether a data page that was only filled travels with bytes: a page of zeros has none to damage.
bool has_bytes(const vmm::GuestConfig& config, std::uint64_t data_page) {
  return guest::fill_of_page(static_cast<std::uint32_t>(config.fill), data_page) !=
         guest::kFillZero;
}

/// Requires: spans of two pages or more.
std::uint64_t choose(const std::vector<Span>& spans, SplitMix64& random) {
  std::uint64_t total = 0;
  for (const auto& span : spans) {
    total += span.end - span.first;
  }
  auto at = random.below(total);
  for (const auto& span : spans) {
    if (at < span.end - span.first) {
      return span.first + at;
    }
    at -= span.end - span.first;
  }
  return spans.back().end - 1;
}

/// Splits spans at the regions' borders.
std::vector<PageRun> to_runs(const std::vector<Span>& spans,
                             const std::vector<engine::MachineDescription::Region>& regions) {
  std::vector<PageRun> runs;
  for (const auto& span : spans) {
    for (auto page = span.first; page < span.end;) {
      const auto id = locate(regions, page);
      const auto count = std::min(span.end - page, regions[id.region].page_count - id.index);
      runs.push_back({id.region, id.index, count});
      page += count;
    }
  }
  return runs;
}

}  // namespace

Result<engine::Injection> plan_injection(const vmm::GuestConfig& config, const PlantedFault& spec) {
  engine::Injection injection;
  injection.fault = spec.fault;
  injection.delay_ns = spec.delay_ns;
  const auto reserved =
      config.kind == vmm::GuestKind::kKvm ? vmm::plan_boot(config).reserved_pages : 0;
  GODWIT_TRY_ASSIGN(const auto plan, vmm::plan_workload(config, reserved, kAnyCounterHz));
  const auto regions = vmm::region_layout(config.memory_bytes);
  SplitMix64 random(config.seed);
  switch (spec.fault) {
    case engine::InjectedFault::kFlipBit:
    case engine::InjectedFault::kDropPage: {
      auto spans = slices(plan, false);
      if (spans.empty()) {
        spans = slices(plan, true);
      }
      std::uint64_t page = 0;
      do {
        page = choose(spans, random);
      } while (!has_bytes(config, page - plan.data_page));
      injection.page = locate(regions, page);
      break;
    }
    case engine::InjectedFault::kStalePage:
      injection.candidates = to_runs(slices(plan, true), regions);
      break;
    default:
      break;
  }
  return injection;
}

std::uint64_t global_page(const vmm::GuestConfig& config, PageId page) {
  const auto regions = vmm::region_layout(config.memory_bytes);
  std::uint64_t before = 0;
  for (RegionIndex i = 0; i < page.region && i < regions.size(); ++i) {
    before += regions[i].page_count;
  }
  return before + page.index;
}

}  // namespace godwit::app
