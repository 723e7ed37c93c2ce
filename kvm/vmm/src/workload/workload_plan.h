#pragma once

#include <cstdint>
#include <vector>

#include "godwit/base/result.h"
#include "godwit/base/units.h"
#include "godwit/engine/ports/guest.h"
#include "godwit/engine/ports/memory.h"
#include "godwit/vmm/guest.h"

#include "guest/workload.h"

namespace godwit::vmm {

inline constexpr const char* kConfigSection = "workload";
inline constexpr std::uint32_t kVcpusMax = 64;
inline constexpr std::uint64_t kMemoryBytesMin = 4 * kMiB;
/// What a 47-bit address space holds beside everything else, at a source; a host may have less.
inline constexpr std::uint64_t kMemoryBytesMax = 64 * 1024 * kGiB;
/// Page numbers of a working set fit 32 bits.
inline constexpr std::uint64_t kPopulatedBytesMax = 8192 * kGiB;
inline constexpr std::uint64_t kPopulatedBytesMin = 3 * kMiB;
inline constexpr std::uint64_t kPopulatedBytesVcpu = 128 * kKiB;

/// Where everything of a guest lies. Pages are counted through all regions ("memory pages"): a
/// region's first follows the last of the one before, and the hole between their addresses has no
/// number.
///
///   0 .. reserved-1            what the machine puts there (KVM: code, page tables, stacks)
///   params_page                guest::WorkloadParams
///   blocks_page ..             guest::VcpuBlock, one a vCPU
///   table_page ..              generations
///   data_page .. populated-1   data pages (and at most one page of zeros, for which no table entry
///                              was left)
///   populated_pages ..         holes, never touched
struct WorkloadPlan {
  std::uint64_t params_page = 0;
  std::uint64_t blocks_page = 0;
  std::uint64_t table_page = 0;
  std::uint64_t data_page = 0;
  std::uint64_t data_pages = 0;
  std::uint64_t populated_pages = 0;
  std::uint64_t total_pages = 0;
  std::uint64_t params_gpa = 0;
  guest::WorkloadParams params{};

  /// First page that must read zero: after the last data page.
  [[nodiscard]] std::uint64_t first_hole() const { return data_page + data_pages; }
};

/// Plans the workload of a valid `config` behind `reserved_pages` of the machine's own.
/// Requires: counter_hz is what Platform::now() ticks. Errors: kInvalidArgument when
/// populated_bytes leaves no data pages.
Result<WorkloadPlan> plan_workload(const GuestConfig& config,
                                   std::uint64_t reserved_pages,
                                   std::uint64_t counter_hz);

/// The same for another machine's regions, which hold config.memory_bytes.
Result<WorkloadPlan> plan_workload(const GuestConfig& config,
                                   const std::vector<engine::MachineDescription::Region>& regions,
                                   std::uint64_t reserved_pages,
                                   std::uint64_t counter_hz);

/// Guest-physical address of memory page `page`. Requires: page < total pages.
std::uint64_t gpa_of_page(const std::vector<engine::MachineDescription::Region>& regions,
                          std::uint64_t page);

/// Region and index of memory page `page`. Requires: page < memory.page_count().
PageId page_id(const engine::GuestMemory& memory, std::uint64_t page);

/// Puts parameters and empty vCPU blocks into memory, through the guest's mapping, before boot.
/// Also populates the page that the table has no entry for, so that exactly `populated_pages` are.
void write_workload(const WorkloadPlan& plan, const engine::GuestMemory& memory);

/// Adds the holes to `result`: all pages that the guest never writes. A hole that is populated must
/// read zero. Only what `populated` finds is read, through the file where there is one, so the
/// check fills nothing. Errors: kIo. Cost: one scan, and on a memfd one pread() a populated hole.
Status check_holes(const WorkloadPlan& plan,
                   const engine::GuestMemory& memory,
                   engine::PopulatedScan& populated,
                   SweepResult& result);

}  // namespace godwit::vmm
