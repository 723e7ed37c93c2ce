#include "godwit/uffd/scan_dirty_source.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/utsname.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "godwit/base/fd.h"
#include "godwit/base/units.h"
#include "godwit/engine/mark_run.h"
#include "godwit/uffd/populated_scan.h"
#include "godwit/uffd/uffd.h"

#include "memory_kind.h"
#include "tracking/unmergeable.h"
#include "uapi.h"

// Which pages did the guest write since the last sync? Order is correctness.
//
// start() write-protects memory. The first write to a page faults; the kernel takes the protection
// off by itself and lets the writer go on. sync() asks for all pages that are not protected, and
// the same call protects them again: the entry of a page is looked at and protected under the page
// table's lock, which the fault takes too. So there is no moment between the two in which a write
// could fall. A write before is in what the engine reads, and its page is reported. A write after
// faults again, and the next sync reports it. A write by a processor that still has the old entry
// in its TLB ends before the call returns, which flushes it; the page is reported by this call, and
// read after it.
//
// Pages never touched have no page table entry that could carry the protection. The kernel can put
// a marker in its place, but markers for all memory are page tables for all memory, and each sync
// walks them: that would cost by the size of the address space and not by what was written. How it
// is avoided depends on the memory.
//
// Anonymous memory: no marker is needed, since an entry comes into being with the first touch and
// stays, if only as a swapped page's. So start() protects what is there, by the same call as
// sync(); what comes into being later is not protected, and that is how the next sync finds it. A
// page that is only read first is found too, and travels once as a zero page. And the scan for
// populated pages, which takes a marker for a swapped page, meets none. What this source does not
// see is a page that is given back to the kernel (MADV_DONTNEED): nobody may discard tracked
// memory.
//
// Memory of a file loses entries at any time: the kernel may unmap a page and keep it in the file.
// An empty entry says nothing then, so markers are needed: a protected page that is unmapped leaves
// one, an unprotected one leaves an empty entry, which counts as written. (Should a kernel see it
// otherwise, the test that unmaps a written page fails.) But a page that was ever touched stays in
// the file. So memory is armed by blocks: a block without a page in the file is left alone, without
// page tables, and sync() first asks the file which of these have got pages since. Such a block is
// protected as a whole, and then all pages that it has are marked: a first write before that has
// made its page by then, a first write after that meets the protection.
//
// The answer of the kernel has a bounded number of ranges. When they are used up, the call says how
// far it came, and has protected exactly what it reported; the next call goes on from there.

namespace godwit::uffd {
namespace {

/// Ranges of one call. Sized so that a sync of scattered pages needs few calls.
constexpr std::size_t kScanRanges = 4096;
/// Memory of files is armed by so many pages: 32 MiB, 64 KiB of page tables. Smaller blocks cost a
/// question each where pages are scattered, larger ones cost tables and their walk.
constexpr std::uint64_t kBlockPages = 8192;
/// Armed stretches are scanned in one call when no more lies between them: to walk over a part
/// without page tables costs less than the call.
constexpr std::uint64_t kJoinedGapPages = kGiB >> kPageShift;

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
      : memory_(memory),
        kind_(memory_kind(memory)),
        pagemap_(std::move(pagemap)),
        files_(make_memfd_scan(memory)),
        ranges_(kScanRanges) {}
  ScanDirtySource(const ScanDirtySource&) = delete;
  ScanDirtySource& operator=(const ScanDirtySource&) = delete;
  ~ScanDirtySource() override { stop(); }

  Status start(engine::DirtySink& sink) override;
  Status sync() override;
  void stop() override;
  [[nodiscard]] const char* name() const override { return "wp-async"; }

 private:
  /// Pages first .. end-1 of a region.
  struct Stretch {
    std::uint64_t first = 0;
    std::uint64_t end = 0;
  };

  Status arm_all();
  Status arm_new_blocks(RegionIndex region, engine::DirtySink* sink);
  Status protect(RegionIndex region, Stretch pages);
  Status scan_armed(RegionIndex region, engine::DirtySink* sink);
  Status scan(RegionIndex region, Stretch pages, engine::DirtySink* sink);

  const engine::GuestMemory memory_;
  const MemoryKind kind_;
  const Fd pagemap_;
  const std::unique_ptr<engine::PopulatedScan> files_;  ///< for memory of 4 KiB pages of files
  std::vector<UapiScanRange> ranges_;                   ///< allocated once
  std::vector<std::vector<Stretch>> armed_;             ///< by region, in order of address
  std::optional<Uffd> uffd_;                            ///< while tracking runs
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
  auto status = arm_all();
  if (!status) {
    stop();
  }
  return status;
}

Status ScanDirtySource::arm_all() {
  armed_.assign(memory_.regions.size(), {});
  for (RegionIndex region = 0; region < memory_.regions.size(); ++region) {
    const auto pages = memory_.regions[region].page_count;
    GODWIT_TRY(make_unmergeable(memory_.regions[region]));
    GODWIT_TRY(uffd_->register_range(
        memory_.regions[region].guest, pages << kPageShift, Registration::kWriteProtect));
    ++registered_;
    switch (kind_) {
      case MemoryKind::kAnonymous:
        armed_[region].push_back({0, pages});
        GODWIT_TRY(scan_armed(region, nullptr));
        break;
      case MemoryKind::kHuge:  // few entries, and no way to ask for them
        armed_[region].push_back({0, pages});
        GODWIT_TRY(protect(region, {0, pages}));
        break;
      case MemoryKind::kMemfd:
        GODWIT_TRY(arm_new_blocks(region, nullptr));
        break;
    }
  }
  return {};
}

Status ScanDirtySource::sync() {
  if (!uffd_) {
    return fail(ErrorCode::kState, "sync", "asynchronous write-protect tracking does not run");
  }
  for (RegionIndex region = 0; region < memory_.regions.size(); ++region) {
    if (kind_ == MemoryKind::kMemfd) {
      GODWIT_TRY(arm_new_blocks(region, sink_));
    }
    GODWIT_TRY(scan_armed(region, sink_));
  }
  return {};
}

/// Arms the blocks of a region that have a page and are not armed; `sink`: gets their pages.
Status ScanDirtySource::arm_new_blocks(RegionIndex region, engine::DirtySink* sink) {
  std::vector<Stretch> armed;
  const auto add = [&armed](Stretch pages) {
    if (!armed.empty() && armed.back().end == pages.first) {
      armed.back().end = pages.end;
    } else {
      armed.push_back(pages);
    }
  };
  PageRun known;
  std::uint64_t at = 0;
  const auto arm_gap = [&](std::uint64_t end) -> Status {
    while (at < end) {
      GODWIT_TRY_ASSIGN(const auto used, files_->first({region, at, end - at}));
      if (used >= end) {
        break;
      }
      const auto block = used / kBlockPages * kBlockPages;
      const Stretch pages{std::max(block, at), std::min(block + kBlockPages, end)};
      GODWIT_TRY(protect(region, pages));
      if (sink != nullptr) {
        GODWIT_TRY(engine::mark_populated(
            *sink, *files_, {region, pages.first, pages.end - pages.first}, known));
      }
      add(pages);
      at = pages.end;
    }
    return {};
  };
  for (const auto& pages : armed_[region]) {
    GODWIT_TRY(arm_gap(pages.first));
    add(pages);
    at = pages.end;
  }
  GODWIT_TRY(arm_gap(memory_.regions[region].page_count));
  armed_[region] = std::move(armed);
  return {};
}

Status ScanDirtySource::protect(RegionIndex region, Stretch pages) {
  return uffd_->write_protect(
      memory_.page({region, pages.first}), (pages.end - pages.first) << kPageShift, true);
}

Status ScanDirtySource::scan_armed(RegionIndex region, engine::DirtySink* sink) {
  const auto& armed = armed_[region];
  for (std::size_t i = 0; i < armed.size();) {
    Stretch joined = armed[i++];
    for (; i < armed.size() && armed[i].first - joined.end <= kJoinedGapPages; ++i) {
      joined.end = armed[i].end;
    }
    GODWIT_TRY(scan(region, joined, sink));
  }
  return {};
}

Status ScanDirtySource::scan(RegionIndex region, Stretch pages, engine::DirtySink* sink) {
  const auto base = reinterpret_cast<std::uintptr_t>(memory_.regions[region].guest);
  UapiScanArguments scan;
  scan.size = sizeof(scan);
  scan.flags = kUapiScanWpMatching | kUapiScanCheckWpAsync;
  scan.start = base + (pages.first << kPageShift);
  scan.end = base + (pages.end << kPageShift);
  scan.vec = reinterpret_cast<std::uintptr_t>(ranges_.data());
  scan.vec_len = ranges_.size();
  scan.category_mask = kUapiPageIsWritten;
  if (kind_ == MemoryKind::kAnonymous) {
    // Not the empty entries, which the kernel counts as written, too.
    scan.category_anyof_mask = kUapiPageIsPresent | kUapiPageIsSwapped;
  }
  scan.return_mask = kUapiPageIsWritten;
  while (scan.start < scan.end) {
    const int count = ::ioctl(pagemap_.get(), kUapiPagemapScan, &scan);
    if (count < 0) {
      return fail_errno(errno, "PAGEMAP_SCAN", fmt::format("region {}", region));
    }
    for (std::size_t i = 0; sink != nullptr && i < static_cast<std::size_t>(count); ++i) {
      engine::mark_run(*sink,
                       {region,
                        (ranges_[i].start - base) >> kPageShift,
                        (ranges_[i].end - ranges_[i].start) >> kPageShift});
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

/// Linux 6.7 and 6.8 look at the protection bit of entries of swapped and migrating pages in the wrong
/// place when they are asked for written pages only, and may not tell that such a page was written.
/// Nothing short of swapping shows it. Source: fs/proc/task_mmu.c, the fast path of PAGE_IS_WRITTEN,
/// corrected in April 2024
Status check_kernel() {
  utsname name{};
  if (::uname(&name) != 0) {
    return {};
  }
  const std::string_view release = name.release;
  // "6.8.0-31-generic", "6.8-rc3", and not "6.80".
  const bool affected = (release.starts_with("6.7") || release.starts_with("6.8")) &&
                        release.find_first_not_of("0123456789", 2) == 3;
  if (affected) {
    return fail(ErrorCode::kUnsupported,
                "PAGEMAP_SCAN",
                fmt::format("Linux {} may lose writes to pages that are swapped (fixed in 6.9)",
                            name.release));
  }
  return {};
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
  GODWIT_TRY(check_kernel());
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
