#pragma once

#include <memory>

#include "godwit/engine/ports/memory.h"
#include "godwit/engine/ports/placing.h"
#include "godwit/uffd/uffd.h"

namespace godwit::uffd {

/// The ways to put content into guest memory, by name(). Requires of all: mappings and files of the
/// memory outlive the placer. Thread: any, for distinct pages.

/// "alias", for a memfd: copies through a second mapping. Requires: every region has its alias.
std::unique_ptr<engine::PagePlacer> make_alias_placer(const engine::GuestMemory& memory);

/// "pwrite", for a memfd: writes to the file.
std::unique_ptr<engine::PagePlacer> make_pwrite_placer(const engine::GuestMemory& memory);

/// "alias", for huge pages, whose files cannot be written to. The rest of a huge page is zero once
/// its first bytes are placed. Requires: every region has its alias. Errors of place(): kNoMemory
/// when the kernel has no huge page for this process.
/// Kernel: an error instead of SIGBUS for a missing page by MADV_POPULATE_WRITE, v5.14.
std::unique_ptr<engine::PagePlacer> make_huge_placer(const engine::GuestMemory& memory);

/// "uffd-copy", for anonymous memory: placing() is kMaps. A page that is mapped already keeps its
/// content whoever places it again, and that is no error: somebody was faster, and everybody who
/// waited goes on. Errors of place(): kNoMemory, kState before the memory is registered with
/// `uffd`. Kernel: UFFDIO_COPY on anonymous memory, v4.3; retracting many runs in one call, v6.13
/// (before that, a call a run). Cost of place(): one system call a run, about a microsecond a page.
std::unique_ptr<engine::PagePlacer> make_copy_placer(const engine::GuestMemory& memory,
                                                     std::shared_ptr<Uffd> uffd);

/// "memcpy", for anonymous memory in a migration without post-copy: through the guest's own
/// mapping, which nobody runs on yet. Requires: no userfaultfd is armed on the memory.
std::unique_ptr<engine::PagePlacer> make_direct_placer(const engine::GuestMemory& memory);

}  // namespace godwit::uffd
