#pragma once

#include <cstdint>
#include <memory>

#include "godwit/engine/ports/memory.h"
#include "godwit/engine/ports/placing.h"

namespace godwit::uffd {

/// What a migration asks of the parts.
struct TargetNeeds {
  bool postcopy = true;   ///< pages may come after the switch: faults are served
  bool prealloc = false;  ///< memory populated now
  /// The guest is user-mode code of this process, so a userfaultfd that serves only such faults
  /// will do; never for KVM, whose faults are the kernel's.
  bool process_guest = false;
};

/// How pages get into a target's memory, and its faults are served.
struct TargetParts {
  std::unique_ptr<engine::PagePlacer> placer;    ///< name() tells which way was taken
  std::unique_ptr<engine::FaultService> faults;  ///< null without post-copy; not armed yet
  std::int64_t prealloc_ns = 0;                  ///< how long populating took
  /// Preallocation was asked for and nothing is populated: a page of anonymous memory that is there
  /// cannot be waited for.
  bool prealloc_left_out = false;
};

/// Makes the parts that go with `memory`, whose kind is read off its regions:
///
///   memory               post-copy   placer            faults                prealloc populates
///   memfd                yes         alias or pwrite   of 4 KiB pages        the file
///                        no          alias or pwrite   none                  the file
///   memfd of huge pages  yes         alias             of whole huge pages   the file
///                        no          alias             none                  the file
///   private anonymous    yes         uffd-copy         of 4 KiB pages        nothing
///                        no          memcpy            none                  the guest's mapping
///
/// Of a memfd's two ways the faster one here is taken: measured, or alias when the memory is
/// populated beforehand; pwrite where some region has no alias. A fault service may be asked by
/// several threads for overlapping runs; closing it wakes everybody.
/// Requires: all regions are of one kind. The guest mapping of a file is shared, and huge pages
/// have their alias. Nothing in anonymous memory is populated, and nobody runs on it yet. Files
/// and mappings outlive the parts.
/// Errors: kPermission with the remedy, kUnsupported; kNoMemory when the host has not enough to
/// populate all, and what was populated until then stays. Of place(): kNoMemory; kState where
/// placing maps and arm() was not called.
/// Kernel: MINOR faults on shmem, v5.14, on hugetlbfs, v5.13; UFFDIO_COPY on anonymous memory,
/// v4.3; MADV_POPULATE_WRITE, v5.14.
/// Cost: to measure, 6 MiB of scratch memory are filled, a few milliseconds.
Result<TargetParts> make_target_parts(const engine::GuestMemory& memory, const TargetNeeds& needs);

}  // namespace godwit::uffd
