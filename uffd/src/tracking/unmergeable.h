#pragma once

#include <sys/mman.h>

#include <cerrno>

#include "godwit/base/result.h"
#include "godwit/engine/ports/memory.h"

namespace godwit::uffd {

/// Takes memory out of the hands of KSM, which merges equal pages of private memory where a process
/// asked for it (MADV_MERGEABLE, PR_SET_MEMORY_MERGE, systemd's MemoryKSM=). A merged page is mapped
/// anew, without the write protection that tracks it: a write then leaves no trace. Pages that are
/// merged already are copied. It stays so when tracking ends, since nobody knows whose wish it was.
/// Source: madvise(2), mm/ksm.c. Errors: kNoMemory.
inline Status make_unmergeable(const engine::MemoryRegion& region) {
  // EINVAL: a kernel without KSM.
  if (::madvise(region.guest, region.page_count << kPageShift, MADV_UNMERGEABLE) != 0 &&
      errno != EINVAL) {
    return fail_errno(errno, "MADV_UNMERGEABLE", "guest memory");
  }
  return {};
}

}  // namespace godwit::uffd
