#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <memory>
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

}  // namespace

std::unique_ptr<engine::PopulatedScan> make_huge_scan(const engine::GuestMemory& memory) {
  return std::make_unique<HugeScan>(memory);
}

}  // namespace godwit::uffd
