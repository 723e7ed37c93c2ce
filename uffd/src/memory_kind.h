#pragma once

#include <cstdint>

#include "godwit/engine/ports/memory.h"

namespace godwit::uffd {

enum class MemoryKind : std::uint8_t {
  kMemfd,      ///< shared, of 4 KiB pages
  kHuge,       ///< a shared file of huge pages
  kAnonymous,  ///< private, without a file
};

/// Requires: all regions are of one kind.
inline MemoryKind memory_kind(const engine::GuestMemory& memory) {
  if (memory.regions.empty()) {
    return MemoryKind::kMemfd;
  }
  const auto& region = memory.regions[0];
  if (region.fd < 0) {
    return MemoryKind::kAnonymous;
  }
  return region.block_pages > 1 ? MemoryKind::kHuge : MemoryKind::kMemfd;
}

}  // namespace godwit::uffd
