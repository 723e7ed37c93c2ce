#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <memory>
#include <vector>

#include <fmt/format.h>

#include "godwit/base/units.h"
#include "godwit/uffd/page_installer.h"
#include "godwit/uffd/populated_scan.h"

#include "placing/address_map.h"
#include "placing/huge_populate.h"
#include "uapi.h"

// Guest memory on hugetlbfs: a file whose pages the kernel allocates, maps and protects 2 MiB at a
// time.
//
// Which of them were ever written? The file cannot say: hugetlbfs has no SEEK_HOLE of its own, so
// all of it is data. But its pages are neither swapped nor reclaimed, and nothing takes them out of
// a page table unasked, so a page that was populated through a mapping stays in that mapping's
// table. mincore() looks there, and counts a page that is being moved as present, which the pagemap
// does not on older kernels. The pages that came by a migration and that the guest has not touched
// since are in the alias' table only, so both are asked.
//
// Placing: hugetlbfs has no write(), so bytes go through the alias. A page that the kernel cannot
// give (a limit of the hugetlb controller, a memory policy; the pool itself was reserved by mapping
// the file) would be a SIGBUS there. MADV_POPULATE_WRITE in front of the first bytes of each huge
// page makes it an error.

namespace godwit::uffd {
namespace {

/// Looked at in one mincore(): a GiB.
constexpr std::uint64_t kScanPages = kGiB >> kPageShift;

class HugeScan final : public engine::PopulatedScan {
 public:
  explicit HugeScan(const engine::GuestMemory& memory) : memory_(memory) {}

  Status scan(const std::function<void(PageRun)>& found) override {
    std::vector<unsigned char> resident(kScanPages);
    std::vector<unsigned char> other(kScanPages);
    for (RegionIndex i = 0; i < memory_.regions.size(); ++i) {
      const auto& region = memory_.regions[i];
      PageRun open{i, 0, 0};
      for (std::uint64_t at = 0; at < region.page_count; at += kScanPages) {
        const auto count = std::min(kScanPages, region.page_count - at);
        GODWIT_TRY(look(region.guest, at, count, resident));
        if (region.alias != nullptr) {
          GODWIT_TRY(look(region.alias, at, count, other));
        }
        for (std::uint64_t page = 0; page < count; page += region.block_pages) {
          const bool here =
              (resident[page] & 1U) != 0 || (region.alias != nullptr && (other[page] & 1U) != 0);
          if (here && open.count == 0) {
            open.first = at + page;
          }
          if (here) {
            open.count += region.block_pages;
          } else if (open.count != 0) {
            found(open);
            open.count = 0;
          }
        }
      }
      if (open.count != 0) {
        found(open);
      }
    }
    return {};
  }

 private:
  static Status look(std::byte* mapping,
                     std::uint64_t first,
                     std::uint64_t count,
                     std::vector<unsigned char>& resident) {
    // EAGAIN: the kernel is short of memory for the moment; it says nothing of the pages.
    while (::mincore(mapping + (first << kPageShift), count << kPageShift, resident.data()) != 0) {
      if (errno != EAGAIN) {
        return fail_errno(errno, "mincore", "guest memory of huge pages");
      }
    }
    return {};
  }

  const engine::GuestMemory memory_;
};

class HugePlacer final : public engine::PagePlacer {
 public:
  explicit HugePlacer(const engine::GuestMemory& memory) : memory_(memory) {
    for (const auto& region : memory.regions) {
      populated_.emplace_back((region.page_count + region.block_pages - 1) / region.block_pages);
    }
  }
  [[nodiscard]] const char* name() const override { return "alias"; }

  Status place(PageRun run, const std::byte* bytes) override {
    GODWIT_TRY(populate(run, "place"));
    std::memcpy(start_of(run), bytes, run.bytes());
    return {};
  }

  Status place_zero(PageRun run) override {
    GODWIT_TRY(populate(run, "place_zero"));
    std::memset(start_of(run), 0, run.bytes());
    return {};
  }

 private:
  [[nodiscard]] std::byte* start_of(PageRun run) const {
    return memory_.regions[run.region].alias + (run.first << kPageShift);
  }

  Status populate(PageRun run, const char* operation) {
    if (!holds(memory_, run)) {
      return fail(ErrorCode::kInvalidArgument, operation, "pages outside the guest's memory");
    }
    const auto& region = memory_.regions[run.region];
    for (auto block = run.first / region.block_pages; block * region.block_pages < run.end();
         ++block) {
      // relaxed: only saves the call; the page is the kernel's matter, and asking twice is
      // harmless.
      auto& done = populated_[run.region][block];
      if (!done.load(std::memory_order_relaxed)) {
        GODWIT_TRY(populate_huge_page(region, block));
        done.store(true, std::memory_order_relaxed);
      }
    }
    return {};
  }

  const engine::GuestMemory memory_;
  std::vector<std::vector<std::atomic<bool>>> populated_;  ///< a flag a huge page
};

}  // namespace

Status populate_huge_page(const engine::MemoryRegion& region, std::uint64_t block) {
  const auto bytes = region.block_pages << kPageShift;
  while (::madvise(region.alias + block * bytes, bytes, kUapiMadvPopulateWrite) != 0) {
    switch (errno) {
      case EAGAIN:  // the page was busy elsewhere in the kernel
      case EINTR:
        continue;
      case EINVAL:  // before 5.14; the first touch populates
        return {};
      case EFAULT:  // what a touch would answer with SIGBUS
      case ENOMEM:
        return fail_errno(ENOMEM,
                          "MADV_POPULATE_WRITE",
                          "no huge page for this process, although the pool has them: see the "
                          "hugetlb limits of its cgroup and its memory policy");
      default:
        return fail_errno(errno, "MADV_POPULATE_WRITE");
    }
  }
  return {};
}

std::unique_ptr<engine::PopulatedScan> make_huge_scan(const engine::GuestMemory& memory) {
  return std::make_unique<HugeScan>(memory);
}

std::unique_ptr<engine::PagePlacer> make_huge_placer(const engine::GuestMemory& memory) {
  return std::make_unique<HugePlacer>(memory);
}

}  // namespace godwit::uffd
