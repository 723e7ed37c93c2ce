#pragma once

#include <cstdint>

#include "godwit/base/result.h"
#include "godwit/engine/ports/memory.h"
#include "godwit/vmm/guest.h"

namespace godwit::vmm {

/// Pages for a payload.
inline constexpr std::uint64_t kPayloadPages = 16;

/// Where the pages of a guest lie that runs the payload. Pages are counted through all regions; see
/// WorkloadPlan in workload_plan.h for what each holds.
struct GuestLayout {
  std::uint64_t tables_page = 0;     ///< the processor's page tables, PML4 first
  std::uint64_t reserved_pages = 0;  ///< end of tables and stacks, where the workload's pages begin
  std::uint64_t params_gpa = 0;
  std::uint64_t blocks_gpa = 0;  ///< guest::VcpuBlock, one a page and vCPU
  std::uint64_t table_page = 0;  ///< generations, which are zero at boot, as all that follows
  std::uint64_t data_page = 0;
  std::uint64_t data_pages = 0;  ///< what a full sweep checks
};

/// Writes what a guest finds in its memory at boot, all but the payload, for a machine with any
/// regions: page tables, parameters and vCPU blocks. The payload is the caller's to write, into
/// kPayloadPages from `payload_page` on.
/// Requires: the regions hold config.memory_bytes; the first one starts at 0 and holds all that is
/// written; counter_hz is what the guest's counter ticks.
/// Errors: kInvalidArgument when the populated memory leaves no data pages.
Result<GuestLayout> lay_out(const GuestConfig& config,
                            const engine::GuestMemory& memory,
                            std::uint64_t payload_page,
                            std::uint64_t counter_hz);

}  // namespace godwit::vmm
