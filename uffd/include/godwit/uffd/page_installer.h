#pragma once

#include <cstdint>
#include <memory>

#include "godwit/engine/ports/memory.h"
#include "godwit/engine/ports/placing.h"

namespace godwit::uffd {

/// How page content gets into the memfd behind the guest's back.
enum class PlacementChoice : std::uint8_t {
  /// The faster one of the two here: measured, or alias when the memory is populated beforehand.
  kAuto,
  kAlias,   ///< copy through a second mapping; pwrite where some region has none
  kPwrite,  ///< write to the file
};

/// Makes a placer for memfd memory. name() of the result tells which way was taken.
/// Requires: every region has its fd, which outlives the placer, as the mappings do.
/// Thread: the placer may be used by any thread, for distinct pages.
/// Cost: kAuto without `prealloc` fills 6 MiB of scratch memory, a few milliseconds.
std::unique_ptr<engine::PagePlacer> make_memfd_placer(const engine::GuestMemory& memory,
                                                      PlacementChoice choice,
                                                      bool prealloc);

/// Makes a placer for memfd memory of huge pages: "alias", the only way, since such files cannot be
/// written to. The rest of a huge page is zero once its first bytes are placed.
/// Requires: every region has its alias. Thread: any, for distinct pages.
/// Errors of place(): kNoMemory when the kernel has no huge page for this process.
/// Kernel: an error instead of SIGBUS for a missing page by MADV_POPULATE_WRITE, v5.14.
std::unique_ptr<engine::PagePlacer> make_huge_placer(const engine::GuestMemory& memory);

/// Populates all of `memory` for placing through the alias mappings (through the file where a
/// region has none); the guest's own mapping stays empty, so its accesses still fault. Anonymous
/// memory is populated in the guest's own mapping: not for a migration with post-copy. Returns how
/// long that took. Units: ns. Errors: kNoMemory when the host has not enough; what was populated
/// until then stays. Kernel: MADV_POPULATE_WRITE, v5.14; kUnsupported before.
Result<std::int64_t> prealloc(const engine::GuestMemory& memory);

}  // namespace godwit::uffd
