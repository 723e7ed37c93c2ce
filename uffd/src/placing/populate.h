#pragma once

#include <cstdint>

#include "godwit/engine/ports/memory.h"

namespace godwit::uffd {

/// Populates all of `memory` for placing through the alias mappings (through the file where a
/// region has none); the guest's own mapping stays empty, so its accesses still fault. Anonymous memory is
/// populated in the guest's own mapping: not for a migration with post-copy. Returns how long that
/// took. Units: ns. Errors: kNoMemory when the host has not enough; what was populated until then
/// stays. Kernel: MADV_POPULATE_WRITE, v5.14; kUnsupported before.
Result<std::int64_t> prealloc(const engine::GuestMemory& memory);

/// Gives the file the region's huge page number `block` if it has none, by the alias.
/// Errors: kNoMemory where a touch would be a SIGBUS.
Status populate_huge_page(const engine::MemoryRegion& region, std::uint64_t block);

}  // namespace godwit::uffd
