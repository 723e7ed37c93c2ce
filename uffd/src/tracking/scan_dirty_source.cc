#include "godwit/uffd/scan_dirty_source.h"

#include <fcntl.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "godwit/base/fd.h"
#include "godwit/uffd/uffd.h"

#include "uapi.h"

// Which pages did the guest write since the last sync? Order is correctness.
//
// start() write-protects all memory. The first write to a page faults; the kernel takes the
// protection off by itself and lets the writer go on. sync() asks for all pages that are not
// protected, and the same call protects them again: the entry of a page is looked at and protected
// under the page table's lock, which the fault takes too. So there is no moment between the two in
// which a write could fall. A write before is in what the engine reads, and its page is reported. A
// write after faults again, and the next sync reports it. A write by a processor that still has the
// old entry in its TLB ends before the call returns, which flushes it; the page is reported by this
// call, and read after it.
//
// Pages never touched. They have no page table entry that could carry the protection, and memory
// of files loses entries at any time (the kernel may unmap a page and keep it in the file). For both
// the kernel puts a marker in the entry's place when it is asked to protect: start() asks for
// everything, so every page has an entry or a marker. An unprotected page that is unmapped leaves an
// empty entry: that counts as written too, and gets a marker. Should a kernel see it otherwise, the
// test that unmaps a written page fails.
//
// The answer has a bounded number of ranges. When they are used up, the call says how far it came,
// and has protected exactly what it reported; the next call goes on from there.

namespace godwit::uffd {
namespace {

/// Ranges of one call. Sized so that a sync of scattered pages needs few calls.
constexpr std::size_t kScanRanges = 4096;

constexpr char kPagemap[] = "/proc/self/pagemap";

Features wanted_features() {
  Features wanted;
  wanted.wp = true;
  wanted.wp_shmem = true;
  wanted.wp_async = true;
  return wanted;
}

class ScanDirtySource final : public engine::DirtySource {
 public:
  ScanDirtySource(const engine::GuestMemory& memory, Fd pagemap)
      : memory_(memory), pagemap_(std::move(pagemap)), ranges_(kScanRanges) {}
  ScanDirtySource(const ScanDirtySource&) = delete;
  ScanDirtySource& operator=(const ScanDirtySource&) = delete;
  ~ScanDirtySource() override { stop(); }

  Status start(engine::DirtySink& sink) override;
  Status sync() override;
  void stop() override;
  [[nodiscard]] const char* name() const override { return "wp-async"; }

 private:
  Status protect_all();
  Status sync_region(RegionIndex region);
  void mark(RegionIndex region, std::uint64_t first, std::uint64_t end);

  const engine::GuestMemory memory_;
  const Fd pagemap_;
  std::vector<UapiScanRange> ranges_;  ///< allocated once
  std::optional<Uffd> uffd_;           ///< while tracking runs
  engine::DirtySink* sink_ = nullptr;
  std::size_t registered_ = 0;  ///< regions, from the first
};

Status ScanDirtySource::start(engine::DirtySink& sink) {
  if (uffd_) {
    return fail(ErrorCode::kState, "start", "asynchronous write-protect tracking runs already");
  }
  GODWIT_TRY_ASSIGN(auto opened, Uffd::open(wanted_features(), Mode::kUserFaultsEnough));
  uffd_.emplace(std::move(opened));
  sink_ = &sink;
  auto status = protect_all();
  if (!status) {
    stop();
  }
  return status;
}

Status ScanDirtySource::protect_all() {
  for (const auto& region : memory_.regions) {
    const auto bytes = region.page_count << kPageShift;
    GODWIT_TRY(uffd_->register_range(region.guest, bytes, Registration::kWriteProtect));
    ++registered_;
    GODWIT_TRY(uffd_->write_protect(region.guest, bytes, true));
  }
  return {};
}

Status ScanDirtySource::sync() {
  if (!uffd_) {
    return fail(ErrorCode::kState, "sync", "asynchronous write-protect tracking does not run");
  }
  for (RegionIndex region = 0; region < memory_.regions.size(); ++region) {
    GODWIT_TRY(sync_region(region));
  }
  return {};
}

Status ScanDirtySource::sync_region(RegionIndex region) {
  const auto base = reinterpret_cast<std::uintptr_t>(memory_.regions[region].guest);
  UapiScanArguments scan;
  scan.size = sizeof(scan);
  scan.flags = kUapiScanWpMatching | kUapiScanCheckWpAsync;
  scan.start = base;
  scan.end = base + (memory_.regions[region].page_count << kPageShift);
  scan.vec = reinterpret_cast<std::uintptr_t>(ranges_.data());
  scan.vec_len = ranges_.size();
  scan.category_mask = kUapiPageIsWritten;
  scan.return_mask = kUapiPageIsWritten;
  while (scan.start < scan.end) {
    const int count = ::ioctl(pagemap_.get(), kUapiPagemapScan, &scan);
    if (count < 0) {
      return fail_errno(errno, "PAGEMAP_SCAN", fmt::format("region {}", region));
    }
    for (int i = 0; i < count; ++i) {
      mark(region, (ranges_[i].start - base) >> kPageShift, (ranges_[i].end - base) >> kPageShift);
    }
    if (scan.walk_end <= scan.start) {
      return fail(ErrorCode::kInternal,
                  "PAGEMAP_SCAN",
                  fmt::format("the kernel's walk of region {} does not get ahead", region));
    }
    scan.start = scan.walk_end;
  }
  return {};
}

void ScanDirtySource::mark(RegionIndex region, std::uint64_t first, std::uint64_t end) {
  while (first < end) {
    const auto bit = first % 64;
    const auto count = std::min(64 - bit, end - first);
    const auto bits = count == 64 ? ~0ULL : (1ULL << count) - 1;
    sink_->mark(region, first / 64, bits << bit);
    first += count;
  }
}

void ScanDirtySource::stop() {
  if (!uffd_) {
    return;
  }
  for (std::size_t i = 0; i < registered_; ++i) {
    const auto& region = memory_.regions[i];
    // A failure has no remedy here, and closing the handle right after does the same.
    (void)uffd_->unregister_range(region.guest, region.page_count << kPageShift);
  }
  registered_ = 0;
  uffd_.reset();
  sink_ = nullptr;
}

/// Whether PAGEMAP_SCAN exists here: a question about no page at all.
Status probe_scan(int pagemap) {
  UapiScanArguments nothing;
  nothing.size = sizeof(nothing);
  if (::ioctl(pagemap, kUapiPagemapScan, &nothing) < 0) {
    if (errno == ENOTTY) {
      return fail(ErrorCode::kUnsupported, "PAGEMAP_SCAN", "this kernel has none (Linux 6.7)");
    }
    return fail_errno(errno, "PAGEMAP_SCAN");
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<engine::DirtySource>> make_scan_dirty_source(
    const engine::GuestMemory& memory) {
  // Asked now, so that a host that cannot do it says so before a migration begins.
  GODWIT_TRY_ASSIGN(const auto probe, Uffd::open(wanted_features(), Mode::kUserFaultsEnough));
  (void)probe;
  Fd pagemap(::open(kPagemap, O_RDONLY | O_CLOEXEC));
  if (!pagemap.valid()) {
    return fail_errno(errno, kPagemap, "needed to find written pages");
  }
  GODWIT_TRY(probe_scan(pagemap.get()));
  return std::make_unique<ScanDirtySource>(memory, std::move(pagemap));
}

}  // namespace godwit::uffd
