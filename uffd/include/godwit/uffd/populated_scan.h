#pragma once

#include <cstdint>
#include <memory>

#include "godwit/engine/ports/memory.h"

namespace godwit::uffd {

/// Makes the scan that goes with `memory`, one of those below.
/// Requires: all regions are of one kind.
std::unique_ptr<engine::PopulatedScan> make_populated_scan(const engine::GuestMemory& memory);

/// Finds the pages of memfd memory that were ever written, by asking the files where their data is.
/// Requires: every region has its fd; fds and `memory` content outlive the scan object's use.
/// Cost: two system calls a stretch of populated pages; nothing is read, holes cost nothing.
/// Kernel: SEEK_DATA on tmpfs, v3.1. Source: lseek(2)
std::unique_ptr<engine::PopulatedScan> make_memfd_scan(const engine::GuestMemory& memory);

/// Finds the huge pages that any mapping of guest memory on hugetlbfs has; each counts with all its
/// 4 KiB pages. Its files cannot be asked: on hugetlbfs SEEK_DATA finds data everywhere.
/// Requires: every page was populated through the region's mappings, guest or alias, and those last.
/// Cost: a system call a GiB and mapping, and a byte a page.
/// Source: mincore(2)
std::unique_ptr<engine::PopulatedScan> make_huge_scan(const engine::GuestMemory& memory);

/// How the populated pages of anonymous memory are asked for.
enum class AnonymousScanWay : std::uint8_t {
  kBest,     ///< PAGEMAP_SCAN where the kernel has it, else the pagemap
  kPagemap,  ///< /proc/self/pagemap, eight bytes a page of the whole address range
};

/// Finds the pages of private anonymous memory that this process has something for: present, or
/// swapped out. A page that was only ever read is the shared zero page: PAGEMAP_SCAN leaves it out,
/// the pagemap cannot tell it from a written one, so it counts and travels as a zero page. Nothing
/// is read of the memory itself.
/// Requires: every region is private anonymous memory without transparent huge pages (a huge page
/// counts with all its 4 KiB pages), and nobody has write-protected what was never touched.
/// Kernel: PAGEMAP_SCAN, v6.7; Documentation/admin-guide/mm/pagemap.rst
std::unique_ptr<engine::PopulatedScan> make_anonymous_scan(
    const engine::GuestMemory& memory, AnonymousScanWay way = AnonymousScanWay::kBest);

}  // namespace godwit::uffd
