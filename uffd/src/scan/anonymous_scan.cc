#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>
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
constexpr std::size_t kPagemapEntries = std::size_t{64} * 1024;
constexpr std::size_t kScanRegions = 1024;
constexpr std::uint64_t kOneRun = UINT64_MAX;

class AnonymousScan final : public engine::PopulatedScan {
 public:
  AnonymousScan(engine::GuestMemory memory, AnonymousScanWay way)
      : memory_(std::move(memory)), way_(way) {}

  Status scan(const std::function<void(PageRun)>& found) override {
    for (RegionIndex i = 0; i < memory_.regions.size(); ++i) {
      GODWIT_TRY(look({i, 0, memory_.regions[i].page_count}, 0, found));
    }
    return {};
  }

  Result<std::uint64_t> first(PageRun within) override {
    GODWIT_TRY_ASSIGN(const auto run, first_run(within, 1));
    return run.first;
  }

  Result<PageRun> next(PageRun within) override { return first_run(within, 0); }

 private:
  using Found = std::function<void(PageRun)>;

  /// `pages_max`: how many pages to find at most; 0 = a whole run.
  Result<PageRun> first_run(PageRun within, std::uint64_t pages_max) const {
    PageRun run{within.region, within.end(), 0};
    GODWIT_TRY(look(within, pages_max == 0 ? kOneRun : pages_max, [&run](PageRun found) {
      if (run.count == 0) {
        run = found;
      }
    }));
    return run;
  }

  /// `most`: pages to find, 0 = all, kOneRun = those of the first answer.
  [[nodiscard]] Status look(PageRun within, std::uint64_t most, const Found& found) const {
    const Fd pagemap(::open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC));
    if (!pagemap.valid()) {
      return fail_errno(errno, "open /proc/self/pagemap");
    }
    GODWIT_TRY_ASSIGN(const bool done,
                      way_ == AnonymousScanWay::kBest ? scan_run(pagemap.get(), within, most, found)
                                                      : Result<bool>(false));
    return done ? Status() : read_run(pagemap.get(), within, most != 0, found);
  }

  /// By PAGEMAP_SCAN; false when this kernel has none, and then nothing was found yet.
  Result<bool> scan_run(int pagemap, PageRun within, std::uint64_t most, const Found& found) const {
    const auto base = reinterpret_cast<std::uintptr_t>(memory_.regions[within.region].guest);
    const auto start = base + (within.first << kPageShift);
    const auto end = base + (within.end() << kPageShift);
    std::vector<UapiScanRange> regions(most == 0 ? kScanRegions : 1);
    UapiScanArguments arg;
    arg.size = sizeof arg;
    arg.end = end;
    arg.vec = reinterpret_cast<std::uintptr_t>(regions.data());
    arg.vec_len = regions.size();
    arg.max_pages = most == kOneRun ? 0 : most;
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
        found({within.region,
               (part.start - base) >> kPageShift,
               (part.end - part.start) >> kPageShift});
      }
      if (most != 0 && count > 0) {
        break;
      }
      at = arg.walk_end;
    }
    return true;
  }

  /// `once`: one run is enough.
  [[nodiscard]] Status read_run(int pagemap, PageRun within, bool once, const Found& found) const {
    const auto& region = memory_.regions[within.region];
    const auto base = reinterpret_cast<std::uintptr_t>(region.guest) >> kPageShift;
    std::vector<std::uint64_t> entries(kPagemapEntries);
    PageRun open{within.region, 0, 0};
    bool enough = false;
    const auto close = [&] {
      if (open.count != 0) {
        found(open);
        open.count = 0;
        enough = once;
      }
    };
    for (auto at = within.first; at < within.end() && !enough;) {
      const auto wanted = std::min<std::uint64_t>(entries.size(), within.end() - at);
      const auto got = ::pread(pagemap,
                               entries.data(),
                               wanted * sizeof entries[0],
                               static_cast<off_t>((base + at) * sizeof entries[0]));
      if (got <= 0) {
        if (got < 0 && errno == EINTR) {
          continue;
        }
        return fail_errno(got < 0 ? errno : EIO, "read /proc/self/pagemap");
      }
      const auto count = static_cast<std::uint64_t>(got) / sizeof entries[0];
      for (std::uint64_t i = 0; i < count && !enough; ++i) {
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
