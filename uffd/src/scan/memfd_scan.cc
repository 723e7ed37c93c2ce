#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "godwit/uffd/populated_scan.h"

#include "scan/data_extent.h"

// Which pages of a guest were ever written?
//
// Reading them all to see which are zero would populate the memory of a large and mostly empty
// guest. mincore() calls swapped pages absent, which would lose them. /proc/self/pagemap tells only
// of this process's page tables: a page that was written through another mapping, or whose entry
// was reclaimed, looks absent. The file itself knows: SEEK_DATA and SEEK_HOLE walk the page cache
// with its swap entries, and skip empty space without looking at each page.

namespace godwit::uffd {

Result<Extent> next_data(int fd, std::uint64_t from, std::uint64_t end) {
  while (from < end) {
    const auto data = ::lseek(fd, static_cast<off_t>(from), SEEK_DATA);
    if (data < 0 && errno != ENXIO) {
      return fail_errno(errno, "lseek SEEK_DATA");
    }
    const auto start = data < 0 ? end : static_cast<std::uint64_t>(data) & ~(kPageBytes - 1);
    if (start >= end) {
      break;  // ENXIO: no data from here to the end of the file
    }
    const auto hole = ::lseek(fd, data, SEEK_HOLE);
    if (hole < 0 && errno != ENXIO) {
      return fail_errno(errno, "lseek SEEK_HOLE");
    }
    if (hole > data) {
      const auto stop = (static_cast<std::uint64_t>(hole) + kPageBytes - 1) & ~(kPageBytes - 1);
      return Extent{start, std::min(stop, end)};
    }
    // The page was punched out between the two questions: go on behind it.
    from = start + kPageBytes;
  }
  return Extent{end, end};
}

namespace {

class MemfdScan final : public engine::PopulatedScan {
 public:
  explicit MemfdScan(engine::GuestMemory memory) : memory_(std::move(memory)) {}

  Status scan(const std::function<void(PageRun)>& found) override {
    for (RegionIndex i = 0; i < memory_.regions.size(); ++i) {
      GODWIT_TRY(scan_region(i, found));
    }
    return {};
  }

  Result<std::uint64_t> first(PageRun within) override {
    const auto& region = memory_.regions[within.region];
    // Not where the data ends: the kernel finds that page by page.
    const auto at = ::lseek(region.fd, offset_of(region, within.first), SEEK_DATA);
    if (at < 0 && errno != ENXIO) {
      return fail_errno(errno, "lseek SEEK_DATA");
    }
    const auto page =
        at < 0 ? within.end() : (static_cast<std::uint64_t>(at) - region.offset) >> kPageShift;
    return std::min(page, within.end());
  }

  Result<PageRun> next(PageRun within) override {
    const auto& region = memory_.regions[within.region];
    const auto bytes = region.page_count << kPageShift;
    GODWIT_TRY_ASSIGN(const auto data,
                      next_data(region.fd,
                                static_cast<std::uint64_t>(offset_of(region, within.first)),
                                region.offset + bytes));
    const PageRun found{within.region,
                        (data.start - region.offset) >> kPageShift,
                        (data.end - data.start) >> kPageShift};
    return found.first < within.end() ? found : PageRun{within.region, within.end(), 0};
  }

 private:
  static off_t offset_of(const engine::MemoryRegion& region, std::uint64_t page) {
    return static_cast<off_t>(region.offset + (page << kPageShift));
  }

  Status scan_region(RegionIndex index, const std::function<void(PageRun)>& found) {
    const auto& region = memory_.regions[index];
    const auto end = region.offset + (region.page_count << kPageShift);
    for (auto at = region.offset; at < end;) {
      GODWIT_TRY_ASSIGN(const auto data, next_data(region.fd, at, end));
      if (!data.empty()) {
        found({index,
               (data.start - region.offset) >> kPageShift,
               (data.end - data.start) >> kPageShift});
      }
      at = data.end;
    }
    return {};
  }

  engine::GuestMemory memory_;
};

}  // namespace

std::unique_ptr<engine::PopulatedScan> make_memfd_scan(const engine::GuestMemory& memory) {
  return std::make_unique<MemfdScan>(memory);
}

}  // namespace godwit::uffd
