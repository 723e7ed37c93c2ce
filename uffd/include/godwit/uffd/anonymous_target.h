#pragma once

#include <memory>

#include "godwit/engine/ports/memory.h"
#include "godwit/engine/ports/placing.h"

namespace godwit::uffd {

/// How the target fills private anonymous memory: both use one userfaultfd, so they come together.
struct AnonymousTarget {
  std::unique_ptr<engine::PagePlacer> placer;  ///< "uffd-copy": placing() is kMaps
  std::unique_ptr<engine::FaultService> faults;
};

/// Makes placer and fault service for pages that may come after the switch; nothing is registered
/// before FaultService::arm(), and nothing can be placed before that.
/// Requires: the guest mapping of every region is private and anonymous, nothing in it is
/// populated, and it outlives both. `process_guest`: as in make_fault_service(). Guarantees: a page
/// that is mapped already keeps its content whoever places it again, and that is no error: somebody
/// was faster, and everybody who waited goes on. Errors: kPermission with the remedy, kUnsupported;
/// of place() and map(): kNoMemory, kState before arm(). Kernel: UFFDIO_COPY on anonymous memory,
/// v4.3; retracting many runs in one call, v6.13 (before that, a call a run). Cost of place(): one
/// system call a run, about a microsecond a page.
Result<AnonymousTarget> make_anonymous_target(const engine::GuestMemory& memory,
                                              bool process_guest);

/// Makes a placer for a migration without post-copy: "memcpy" through the guest's own mapping,
/// which nobody runs on yet. Requires: no userfaultfd is armed on the memory.
std::unique_ptr<engine::PagePlacer> make_direct_placer(const engine::GuestMemory& memory);

}  // namespace godwit::uffd
