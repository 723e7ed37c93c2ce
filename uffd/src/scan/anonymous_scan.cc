#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <vector>

#include "godwit/base/fd.h"
#include "godwit/uffd/populated_scan.h"

#include "uapi.h"

// Anonymous memory has no file to ask, but only one page table, this process's: what it has no
// entry for was never touched. mincore() would call swapped pages absent, which would lose them;
// the pagemap tells both. PAGEMAP_SCAN skips empty parts of the table as a whole and knows the
// shared zero page; the plain pagemap is eight bytes for every page of the address range.

namespace godwit::uffd {
namespace {

constexpr std::uint64_t kPagemapSwapped = 1ULL << 62;
constexpr std::uint64_t kPagemapPresent = 1ULL << 63;
constexpr std::size_t kPagemapEntries = 64 * 1024;
constexpr std::size_t kScanRegions = 1024;

class AnonymousScan final : public engine::PopulatedScan {
 public:
  AnonymousScan(const engine::GuestMemory& memory, AnonymousScanWay way)
      : memory_(memory), way_(way) {}

  Status scan(const std::function<void(PageRun)>& found) override {
    const Fd pagemap(::open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC));
    if (!pagemap.valid()) {
      return fail_errno(errno, "open /proc/self/pagemap");
    }
    for (RegionIndex i = 0; i < memory_.regions.size(); ++i) {
      GODWIT_TRY_ASSIGN(const bool done,
                        way_ == AnonymousScanWay::kBest ? scan_region(pagemap.get(), i, found)
                                                        : Result<bool>(false));
      if (!done) {
        GODWIT_TRY(read_region(pagemap.get(), i, found));
      }
    }
    return {};
  }

 private:
  using Found = std::function<void(PageRun)>;

  /// By PAGEMAP_SCAN; false when this kernel has none, and then nothing was found yet.
  Result<bool> scan_region(int pagemap, RegionIndex index, const Found& found) const {
    const auto& region = memory_.regions[index];
    const auto start = reinterpret_cast<std::uintptr_t>(region.guest);
    const auto end = start + (region.page_count << kPageShift);
    std::vector<UapiScanRange> regions(kScanRegions);
    UapiScanArguments arg;
    arg.size = sizeof arg;
    arg.end = end;
    arg.vec = reinterpret_cast<std::uintptr_t>(regions.data());
    arg.vec_len = regions.size();
    arg.category_inverted = kUapiPageIsPfnzero;
    arg.category_mask = kUapiPageIsPfnzero;
    arg.category_anyof_mask = kUapiPageIsPresent | kUapiPageIsSwapped;
    // The same for all that is found, so that runs stay whole.
    arg.return_mask = kUapiPageIsPfnzero;
    for (auto at = start; at < end;) {
      arg.start = at;
      const int count = ::ioctl(pagemap, kUapiPagemapScan, &arg);
      if (count < 0) {
        if (errno == EINTR) {
          continue;
        }
        if (at == start && (errno == ENOTTY || errno == EINVAL)) {
          return false;
        }
        return fail_errno(errno, "PAGEMAP_SCAN");
      }
      for (int i = 0; i < count; ++i) {
        const auto& part = regions[static_cast<std::size_t>(i)];
        found({index, (part.start - start) >> kPageShift, (part.end - part.start) >> kPageShift});
      }
      at = arg.walk_end;
    }
    return true;
  }

  Status read_region(int pagemap, RegionIndex index, const Found& found) const {
    const auto& region = memory_.regions[index];
    const auto first = reinterpret_cast<std::uintptr_t>(region.guest) >> kPageShift;
    std::vector<std::uint64_t> entries(kPagemapEntries);
    PageRun open{index, 0, 0};
    const auto close = [&] {
      if (open.count != 0) {
        found(open);
        open.count = 0;
      }
    };
    for (std::uint64_t at = 0; at < region.page_count;) {
      const auto wanted = std::min<std::uint64_t>(entries.size(), region.page_count - at);
      const auto got = ::pread(pagemap,
                               entries.data(),
                               wanted * sizeof entries[0],
                               static_cast<off_t>((first + at) * sizeof entries[0]));
      if (got <= 0) {
        if (got < 0 && errno == EINTR) {
          continue;
        }
        return fail_errno(got < 0 ? errno : EIO, "read /proc/self/pagemap");
      }
      const auto count = static_cast<std::uint64_t>(got) / sizeof entries[0];
      for (std::uint64_t i = 0; i < count; ++i) {
        if ((entries[i] & (kPagemapPresent | kPagemapSwapped)) == 0) {
          close();
        } else if (open.count++ == 0) {
          open.first = at + i;
        }
      }
      at += count;
    }
    close();
    return {};
  }

  const engine::GuestMemory memory_;
  const AnonymousScanWay way_;
};

}  // namespace

std::unique_ptr<engine::PopulatedScan> make_anonymous_scan(const engine::GuestMemory& memory,
                                                           AnonymousScanWay way) {
  return std::make_unique<AnonymousScan>(memory, way);
}

}  // namespace godwit::uffd
