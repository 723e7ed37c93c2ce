#pragma once

#include <cstdint>

#include "godwit/engine/ports.h"

namespace godwit::uffd {

/// Gives the file the region's huge page number `block` if it has none, by the alias.
/// Errors: kNoMemory where a touch would be a SIGBUS.
Status populate_huge_page(const engine::MemoryRegion& region, std::uint64_t block);

}  // namespace godwit::uffd
