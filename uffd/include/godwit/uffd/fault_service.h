#pragma once

#include <memory>

#include "godwit/engine/ports/memory.h"
#include "godwit/engine/ports/placing.h"

namespace godwit::uffd {

/// Opens the target's fault service for memfd memory; nothing is registered before arm().
/// Requires: the guest mapping of every region is shared, of its own fd, and outlives the service.
/// `process_guest`: the guest is user-mode code of this process, so a userfaultfd that serves only
/// such faults will do; never for KVM, whose faults are the kernel's. Guarantees: map() may be
/// called by several threads for overlapping runs; every page of the run is mapped on return and
/// every access that waited for it goes on. Closing the service wakes everybody. Errors:
/// kPermission with the remedy, kUnsupported. Kernel: MINOR faults on shmem, v5.14.
Result<std::unique_ptr<engine::FaultService>> make_fault_service(const engine::GuestMemory& memory,
                                                                 bool process_guest);

/// The same for memory of huge pages: faults and mapping go by whole huge pages, block_pages().
/// Requires: every region has its alias, through which holes get their zero pages.
/// Kernel: MINOR faults on hugetlbfs, v5.13.
Result<std::unique_ptr<engine::FaultService>> make_huge_fault_service(
    const engine::GuestMemory& memory, bool process_guest);

}  // namespace godwit::uffd
