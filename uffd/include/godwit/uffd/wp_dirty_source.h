#pragma once

#include <memory>

#include "godwit/engine/ports/dirty.h"
#include "godwit/engine/ports/memory.h"

namespace godwit::uffd {

/// Makes a dirty source that learns of writes by write-protecting the guest mapping: for process
/// guests on memfd or anonymous memory, whose writes no hypervisor logs. A handler thread of its
/// own takes the protection off page by page as they are written.
///
/// Requires: all writes go through the guest mapping (writes through another mapping, or to the
/// file, are not seen); nobody punches holes in the memory while tracking runs; the sink outlives
/// stop(). The handler thread never touches guest memory, so the guest's writers may hold whatever
/// they like while they wait for it. Guarantees: those of engine::DirtySource. start() is legal
/// again after stop(). After a failure of the kernel the guest runs on unprotected, and sync()
/// returns that failure until stop(). The destructor ends tracking as stop() does, without marking.
/// Errors: kUnsupported (kernel too old), kPermission with the remedy.
/// Kernel: write-protection of shmem, v5.19; of anonymous memory, v5.7, where a first access of any
/// kind to a page counts as a write. With a userfaultfd for user faults only (nothing more
/// permitted), system calls that write to tracked memory fail with EFAULT. Cost: the first write to
/// a page after each sync waits for one hop to the handler, tens of microseconds; sync() is one
/// system call per neighbourhood of dirty pages; two bits of memory a page.
Result<std::unique_ptr<engine::DirtySource>> make_wp_dirty_source(
    const engine::GuestMemory& memory);

}  // namespace godwit::uffd
