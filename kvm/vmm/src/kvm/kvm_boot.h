#pragma once

#include <cstdint>
#include <vector>

#include "godwit/base/result.h"
#include "godwit/engine/ports/guest.h"
#include "godwit/engine/ports/memory.h"
#include "godwit/kvm/system.h"
#include "godwit/kvm/vcpu.h"
#include "godwit/vmm/guest.h"
#include "godwit/vmm/layout.h"

#include "workload/workload_plan.h"

namespace godwit::vmm {

/// Pages at the start of guest memory that belong to the machine, not to the workload: some unused
/// (here one, so that a null pointer hits zeros), the payload, page tables, stacks. Guarantees:
/// follows from the configuration alone, so that both sides of a migration agree.
struct BootLayout {
  std::uint64_t tables_page = 0;  ///< PML4, PDPTs, PDs, in this order
  std::uint64_t pdpts = 0;        ///< one a 512 GiB of guest-physical addresses
  std::uint64_t pds = 0;          ///< one a GiB
  std::uint64_t stacks_page = 0;
  std::uint64_t reserved_pages = 0;  ///< all of them
};

BootLayout plan_boot(const GuestConfig& config);
/// The same for another machine's regions, and a payload that lies at `payload_page`.
BootLayout plan_boot(const GuestConfig& config,
                     const std::vector<engine::MachineDescription::Region>& regions,
                     std::uint64_t payload_page);

/// Page tables for all memory that the guest ever touches, one to one, with the user bit.
/// Requires: they lie in the first region, which starts at 0.
void write_tables(const BootLayout& layout, const engine::GuestMemory& memory);
/// The values that the bases of fs and gs of a vCPU must find. Requires: write_workload() was done.
void write_segment_canaries(const WorkloadPlan& plan, const engine::GuestMemory& memory);

/// Fills the reserved pages, and the workload's own, through the guest's mapping.
/// Errors: kInternal when the payload has outgrown its place.
Status write_boot(const BootLayout& layout,
                  const WorkloadPlan& plan,
                  const engine::GuestMemory& memory);

/// Puts a fresh vCPU at the payload's first instruction. Errors: kIo.
Status enter_payload(const kvm::System& system,
                     const kvm::Vcpu& vcpu,
                     const BootLayout& layout,
                     const WorkloadPlan& plan);

}  // namespace godwit::vmm
