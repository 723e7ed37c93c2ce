#pragma once

#include <memory>

#include "godwit/engine/ports/memory.h"
#include "godwit/engine/ports/placing.h"
#include "godwit/uffd/uffd.h"

namespace godwit::uffd {

/// The fault services, by kind of memory. Guarantees of all: nothing is registered before arm();
/// map() may be called by several threads for overlapping runs; every page of the run is mapped on
/// return and every access that waited for it goes on. Closing the service wakes everybody.
/// Requires: the guest mapping of every region outlives the service.

/// For a memfd. Requires: the guest mapping of every region is shared, of its own fd.
/// Errors: kPermission with the remedy, kUnsupported. Kernel: MINOR faults on shmem, v5.14.
Result<std::unique_ptr<engine::FaultService>> make_memfd_fault_service(
    const engine::GuestMemory& memory, Mode mode);

/// The same for memory of huge pages: faults and mapping go by whole huge pages, block_pages().
/// Requires: every region has its alias, through which holes get their zero pages.
/// Kernel: MINOR faults on hugetlbfs, v5.13.
Result<std::unique_ptr<engine::FaultService>> make_huge_fault_service(
    const engine::GuestMemory& memory, Mode mode);

/// For anonymous memory, whose pages the copy placer puts in through the same `uffd`: what is left
/// to be mapped are holes.
std::unique_ptr<engine::FaultService> make_anonymous_fault_service(
    const engine::GuestMemory& memory, std::shared_ptr<Uffd> uffd);

}  // namespace godwit::uffd
