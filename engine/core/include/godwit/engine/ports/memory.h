#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "godwit/base/result.h"
#include "godwit/base/units.h"

/// Ports: what the engine asks of the world; kvm/, uffd/ and net/ implement them, tests use fakes.
/// Here: guest memory as one process sees it.
namespace godwit::engine {

/// One region of guest memory as this process sees it.
struct MemoryRegion {
  std::uint64_t gpa = 0;  ///< guest-physical address of the first byte
  std::uint64_t page_count = 0;
  std::byte* guest = nullptr;  ///< the mapping that the guest runs on
  /// A second mapping of the same file (target); null where there is none.
  std::byte* alias = nullptr;
  int fd = -1;               ///< the memfd behind it, not owned; -1: private anonymous memory
  std::uint64_t offset = 0;  ///< of the region in `fd`, bytes
  /// Pages of 4 KiB that the kernel allocates, maps and protects only together: 512 on hugetlbfs.
  /// Regions are then whole blocks, aligned to them.
  std::uint64_t block_pages = 1;
};

/// The regions of one guest. Ownership: none; the VMM owns mappings and fds and outlives every
/// user.
struct GuestMemory {
  std::vector<MemoryRegion> regions;
  [[nodiscard]] std::uint64_t page_count() const {
    std::uint64_t sum = 0;
    for (const auto& region : regions) {
      sum += region.page_count;
    }
    return sum;
  }
  [[nodiscard]] std::byte* page(PageId id) const {
    return regions[id.region].guest + (id.index << kPageShift);
  }
};

/// Calls `found` for every run of pages that were ever written, in address order.
/// A page outside every run reads zero and is never read by the engine. Requires: tracking is armed
/// before.
class PopulatedScan {
 public:
  virtual ~PopulatedScan() = default;
  virtual Status scan(const std::function<void(PageRun)>& found) = 0;
  /// The first such page of `within`, or its end. A scan that cannot tell says that it is the first
  /// of all. Cost: what lies before it, not behind it.
  virtual Result<std::uint64_t> first(PageRun within) { return within.first; }
  /// The first run of such pages in `within`, or one of no pages; that of a scan that cannot tell
  /// is `within`. The run may reach beyond its end.
  virtual Result<PageRun> next(PageRun within) { return within; }
};

}  // namespace godwit::engine
