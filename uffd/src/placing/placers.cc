#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "godwit/base/clock.h"
#include "godwit/base/mapping.h"
#include "godwit/uffd/page_installer.h"

#include "placing/address_map.h"
#include "scan/data_extent.h"
#include "uapi.h"

// Getting bytes into a page of the guest that the guest must not see until all of them are there.
//
// The memory is a memfd, and the guest's mapping has no page-table entry for the page, so the bytes
// go into the file by another way: pwrite(), or memcpy() through an alias mapping. Which is faster
// depends on the host and on whether the pages exist: pwrite neither faults nor touches page
// tables, but checks and locks every page; the alias is plain memory once it is populated, and pays
// a fault for every page before that. So without prealloc we measure, on a scratch file, with fresh
// pages, taking turns and keeping the best of each, since the first touch of memory that the host
// must find somewhere is slow for either.
//
// Zero pages: where the file has a hole, the page reads zero already and nothing is done, so that
// an empty guest stays empty. Where it has a page, zeros are written over it. Punching a hole
// instead would also read zero, but takes the page out of the guest's mapping if it is there (a
// fault for a page that everybody believes mapped), and undoes prealloc.

namespace godwit::uffd {
namespace {

constexpr std::uint64_t kTrialBytes = kMiB;
constexpr int kTrialRounds = 3;
constexpr std::uint64_t kTrialStep = 64 * kPageBytes;  // what one receive brings

int no_memory_or(int sys_errno) {
  return sys_errno == ENOSPC ? ENOMEM : sys_errno;
}

Status write_all(int fd, const std::byte* bytes, std::uint64_t size, std::uint64_t offset) {
  while (size > 0) {
    const auto done = ::pwrite(fd, bytes, size, static_cast<off_t>(offset));
    if (done < 0) {
      if (errno == EINTR) {
        continue;
      }
      return fail_errno(no_memory_or(errno), "pwrite", "guest memory");
    }
    bytes += done;
    size -= static_cast<std::uint64_t>(done);
    offset += static_cast<std::uint64_t>(done);
  }
  return {};
}

class MemfdPlacer : public engine::PagePlacer {
 public:
  explicit MemfdPlacer(engine::GuestMemory memory) : memory_(std::move(memory)) {}

  Status place(PageRun run, const std::byte* bytes) final {
    if (!holds(memory_, run)) {
      return fail(ErrorCode::kInvalidArgument, "place", "pages outside the guest's memory");
    }
    const auto& region = memory_.regions[run.region];
    return write(region, run.first << kPageShift, bytes, run.bytes());
  }

  Status place_zero(PageRun run) final {
    if (!holds(memory_, run)) {
      return fail(ErrorCode::kInvalidArgument, "place_zero", "pages outside the guest's memory");
    }
    const auto& region = memory_.regions[run.region];
    const auto end = region.offset + (run.end() << kPageShift);
    for (auto at = region.offset + (run.first << kPageShift); at < end;) {
      GODWIT_TRY_ASSIGN(const auto data, next_data(region.fd, at, end));
      if (!data.empty()) {
        GODWIT_TRY(write_zeros(region, data.start - region.offset, data.end - data.start));
      }
      at = data.end;
    }
    return {};
  }

 protected:
  /// Writes to [at, at + size) of the region, in bytes from its start.
  virtual Status write(const engine::MemoryRegion& region,
                       std::uint64_t at,
                       const std::byte* bytes,
                       std::uint64_t size) = 0;

 private:
  Status write_zeros(const engine::MemoryRegion& region, std::uint64_t at, std::uint64_t size) {
    static constexpr std::array<std::byte, kTrialStep> kZeros{};
    while (size > 0) {
      const auto step = std::min<std::uint64_t>(size, kZeros.size());
      GODWIT_TRY(write(region, at, kZeros.data(), step));
      at += step;
      size -= step;
    }
    return {};
  }

  engine::GuestMemory memory_;
};

class AliasPlacer final : public MemfdPlacer {
 public:
  using MemfdPlacer::MemfdPlacer;
  [[nodiscard]] const char* name() const override { return "alias"; }

 protected:
  Status write(const engine::MemoryRegion& region,
               std::uint64_t at,
               const std::byte* bytes,
               std::uint64_t size) override {
    std::memcpy(region.alias + at, bytes, size);
    return {};
  }
};

class PwritePlacer final : public MemfdPlacer {
 public:
  using MemfdPlacer::MemfdPlacer;
  [[nodiscard]] const char* name() const override { return "pwrite"; }

 protected:
  Status write(const engine::MemoryRegion& region,
               std::uint64_t at,
               const std::byte* bytes,
               std::uint64_t size) override {
    return write_all(region.fd, bytes, size, region.offset + at);
  }
};

/// How long `placer` takes to fill the scratch region; a measurement that fails never wins.
std::int64_t time_fill(engine::PagePlacer& placer, const std::vector<std::byte>& source) {
  const auto begin = monotonic_ns();
  for (std::uint64_t at = 0; at < kTrialBytes; at += kTrialStep) {
    if (!placer.place({0, at >> kPageShift, kTrialStep >> kPageShift}, source.data())) {
      return INT64_MAX;
    }
  }
  return monotonic_ns() - begin;
}

/// One round on fresh pages: a new file, and the mapping is made outside the time that is measured,
/// as in real use.
template <typename Placer>
std::int64_t trial(const std::vector<std::byte>& source) {
  auto file = create_memfd("godwit-trial", kTrialBytes);
  if (!file) {
    return INT64_MAX;
  }
  auto alias = Mapping::shared(file->get(), 0, kTrialBytes);
  if (!alias) {
    return INT64_MAX;
  }
  engine::GuestMemory memory;
  memory.regions.push_back({0, kTrialBytes >> kPageShift, nullptr, alias->data(), file->get(), 0});
  Placer placer(memory);
  return time_fill(placer, source);
}

bool alias_wins() {
  const std::vector<std::byte> source(kTrialStep, std::byte{0x5a});
  auto best_alias = INT64_MAX;
  auto best_pwrite = INT64_MAX;
  for (int round = 0; round < kTrialRounds; ++round) {
    best_alias = std::min(best_alias, trial<AliasPlacer>(source));
    best_pwrite = std::min(best_pwrite, trial<PwritePlacer>(source));
  }
  return best_alias < best_pwrite;
}

Status populate(const engine::MemoryRegion& region) {
  const auto bytes = region.page_count << kPageShift;
  // Anonymous memory has no other mapping than the guest's; nobody runs on it yet.
  auto* where = region.fd < 0 ? region.guest : region.alias;
  if (where == nullptr) {
    if (::fallocate(region.fd, 0, static_cast<off_t>(region.offset), static_cast<off_t>(bytes)) !=
        0) {
      return fail_errno(
          no_memory_or(errno), "fallocate", fmt::format("{} bytes of guest memory", bytes));
    }
    return {};
  }
  // EAGAIN: a page was busy elsewhere in the kernel; what is populated stays so, and the call walks
  // over it.
  while (::madvise(where, bytes, kUapiMadvPopulateWrite) != 0) {
    switch (errno) {
      case EAGAIN:
      case EINTR:
        continue;
      case EINVAL:
        return fail(ErrorCode::kUnsupported,
                    "MADV_POPULATE_WRITE",
                    "needs Linux 5.14; run without preallocation");
      case EFAULT:  // the file system's own limit, which a touch would answer with SIGBUS
      case ENOMEM:
        return fail_errno(
            ENOMEM,
            "MADV_POPULATE_WRITE",
            fmt::format("{} bytes of guest memory; free memory or choose another host", bytes));
      default:
        return fail_errno(errno, "MADV_POPULATE_WRITE");
    }
  }
  return {};
}

}  // namespace

std::unique_ptr<engine::PagePlacer> make_memfd_placer(const engine::GuestMemory& memory,
                                                      PlacementChoice choice,
                                                      bool prealloc) {
  const bool aliased = std::all_of(
      memory.regions.begin(), memory.regions.end(), [](const engine::MemoryRegion& region) {
        return region.alias != nullptr;
      });
  const bool by_alias =
      aliased && (choice == PlacementChoice::kAlias ||
                  (choice == PlacementChoice::kAuto && (prealloc || alias_wins())));
  if (by_alias) {
    return std::make_unique<AliasPlacer>(memory);
  }
  return std::make_unique<PwritePlacer>(memory);
}

Result<std::int64_t> prealloc(const engine::GuestMemory& memory) {
  const auto begin = monotonic_ns();
  for (const auto& region : memory.regions) {
    GODWIT_TRY(populate(region));
  }
  return monotonic_ns() - begin;
}

}  // namespace godwit::uffd
