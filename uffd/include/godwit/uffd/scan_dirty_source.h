#pragma once

#include <memory>

#include "godwit/engine/ports/dirty.h"
#include "godwit/engine/ports/memory.h"

namespace godwit::uffd {

/// Makes a dirty source that write-protects the guest mapping, lets the kernel take the protection
/// off at a page's first write, and asks the page tables which pages lost it. No thread, and no
/// writer waits for one.
///
/// Requires: all writes go through the guest mapping (writes through another mapping, or to the
/// file, are not seen); nobody punches holes in the memory or discards it while tracking runs; the
/// sink outlives sync(). Guarantees: those of engine::DirtySource. start() is legal again after
/// stop(). System calls may write to tracked memory also where user space has no more than its own
/// faults. Errors: kUnsupported (kernel too old, no /proc/self/pagemap), kPermission with the
/// remedy. Kernel: v6.7, asynchronous write-protection and PAGEMAP_SCAN; before,
/// make_wp_dirty_source(). Cost: the first write to a page after each sync is one short fault;
/// sync() walks the page table entries of what is populated: of anonymous memory those that exist,
/// of files those of each block of 32 MiB that has a page, which start() makes where they are
/// missing; of huge pages all. Source: Documentation/admin-guide/mm/pagemap.rst, "Pagemap Scan
/// IOCTL"
Result<std::unique_ptr<engine::DirtySource>> make_scan_dirty_source(
    const engine::GuestMemory& memory);

}  // namespace godwit::uffd
