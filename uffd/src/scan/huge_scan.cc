#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <utility>
#include <vector>

#include "godwit/base/units.h"
#include "godwit/uffd/populated_scan.h"

// Which pages of a file on hugetlbfs were ever written? The file cannot say: hugetlbfs has no
// SEEK_HOLE of its own, so all of it is data. But its pages are neither swapped nor reclaimed, and
// nothing takes them out of a page table unasked, so a page that was populated through a mapping
// stays in that mapping's table. mincore() looks there, and counts a page that is being moved as
// present, which the pagemap does not on older kernels. The pages that came by a migration and that
// the guest has not touched since are in the alias' table only, so both are asked.

namespace godwit::uffd {
namespace {

/// Looked at in one mincore(): a GiB.
constexpr std::uint64_t kScanPages = kGiB >> kPageShift;

class HugeScan final : public engine::PopulatedScan {
 public:
  explicit HugeScan(engine::GuestMemory memory) : memory_(std::move(memory)) {}

  Status scan(const std::function<void(PageRun)>& found) override {
    for (RegionIndex i = 0; i < memory_.regions.size(); ++i) {
      GODWIT_TRY(look({i, 0, memory_.regions[i].page_count}, false, found));
    }
    return {};
  }

  Result<std::uint64_t> first(PageRun within) override {
    GODWIT_TRY_ASSIGN(const auto run, next(within));
    return run.first;
  }

  Result<PageRun> next(PageRun within) override {
    PageRun run{within.region, within.end(), 0};
    GODWIT_TRY(look(within, true, [&](PageRun found) {
      if (found.first < within.end()) {
        run.first = std::max(found.first, within.first);
        run.count = found.end() - run.first;
      }
    }));
    return run;
  }

 private:
  /// `once`: the first run is enough.
  Status look(PageRun within, bool once, const std::function<void(PageRun)>& found) const {
    std::vector<unsigned char> resident(kScanPages);
    std::vector<unsigned char> other(kScanPages);
    const auto& region = memory_.regions[within.region];
    PageRun open{within.region, 0, 0};
    // From the begin of a block on: it is there as a whole.
    for (auto at = within.first / region.block_pages * region.block_pages; at < within.end();
         at += kScanPages) {
      const auto count = std::min(kScanPages, region.page_count - at);
      GODWIT_TRY(ask(region.guest, at, count, resident));
      if (region.alias != nullptr) {
        GODWIT_TRY(ask(region.alias, at, count, other));
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
          if (once) {
            return {};
          }
        }
      }
    }
    if (open.count != 0) {
      found(open);
    }
    return {};
  }

  static Status ask(std::byte* mapping,
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

}  // namespace

std::unique_ptr<engine::PopulatedScan> make_huge_scan(const engine::GuestMemory& memory) {
  return std::make_unique<HugeScan>(memory);
}

}  // namespace godwit::uffd
