#include "godwit/uffd/fault_service.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "godwit/uffd/uffd.h"

#include "address_map.h"
#include "data_extent.h"

// Mapping pages whose content is in the file, while others do the same.
//
// The guest's mapping is registered for MISSING faults (the file has a hole there) and MINOR faults
// (the file has the page, the page table has not). The bytes were put into the file by another way,
// so both are answered by UFFDIO_CONTINUE, which fills page-table entries from the file. It does a
// whole run in one call, and stops at the first page that it cannot do. What it then says is not an
// error but the state of that page:
//
//   EAGAIN  some pages of the run are done, the count says how many. The kernel reports a partial
//   run this way and
//           keeps the reason to itself, so the rest is asked for again, and now the reason comes
//           for its first page.
//   EEXIST  the page is mapped: by another thread's overlapping run, or before. We skip it. Its
//   waiters are woken
//           nevertheless: the one who mapped it woke those that were queued then, and a wake too
//           many is harmless where a wake too few is a guest that hangs.
//   EFAULT  the file has a hole there: a page that is valid and zero, never written.
//   UFFDIO_ZEROPAGE makes it, for the
//           whole hole at once. If that says EEXIST, somebody was faster, and CONTINUE is asked
//           again.
//
// Every turn moves on, by pages or from "hole" to "exists", unless somebody takes pages out of the
// file meanwhile, which the owner of the memory must not do; the number of turns at one page is
// bounded so that even then the urgent thread gets an error and not an endless loop.

namespace godwit::uffd {
namespace {

/// Turns between "hole" and "exists" at one page; a race with another thread takes one.
constexpr int kMaxTurnsAtOnePage = 16;

class MemfdFaultService final : public engine::FaultService {
 public:
  MemfdFaultService(const engine::GuestMemory& memory, Uffd uffd)
      : memory_(memory), addresses_(memory), uffd_(std::move(uffd)) {}

  Status arm() override {
    for (std::size_t i = 0; i < memory_.regions.size(); ++i) {
      const auto& region = memory_.regions[i];
      auto status = uffd_.register_range(
          region.guest, region.page_count << kPageShift, Registration::kMissingAndMinor);
      if (!status) {
        (void)unregister_first(i);
        return status;
      }
    }
    return {};
  }

  Status disarm() override { return unregister_first(memory_.regions.size()); }

  [[nodiscard]] int fd() const override { return uffd_.fd(); }

  Result<std::size_t> read(std::span<engine::PageFault> faults) override {
    std::array<RawFault, kMaxFaultsPerRead> raw;
    GODWIT_TRY_ASSIGN(const auto count,
                      uffd_.read_faults(std::span(raw).first(std::min(raw.size(), faults.size()))));
    for (std::size_t i = 0; i < count; ++i) {
      const auto page = addresses_.find(raw[i].address);
      if (!page) {
        return fail(ErrorCode::kInternal, "read userfaultfd", "a fault outside the guest's memory");
      }
      faults[i] = {*page, raw[i].minor};
    }
    return count;
  }

  Result<engine::MapResult> map(PageRun run) override;

 private:
  Status unregister_first(std::size_t count);
  Status map_pages(PageRun run, engine::MapResult& result);
  Result<std::uint64_t> fill_hole(RegionIndex region, std::uint64_t first, std::uint64_t end);

  const engine::GuestMemory memory_;
  const AddressMap addresses_;
  Uffd uffd_;
};

Status MemfdFaultService::unregister_first(std::size_t count) {
  // All of them, whatever one says: a region left behind would be a guest that hangs.
  Status first_error;
  for (std::size_t i = 0; i < count; ++i) {
    const auto& region = memory_.regions[i];
    auto status = uffd_.unregister_range(region.guest, region.page_count << kPageShift);
    if (!status && first_error) {
      first_error = std::move(status);
    }
  }
  return first_error;
}

/// Gives the file zero pages from page `first` to where its hole ends, at most to `end`, and maps
/// them; returns how many this call mapped, 0 when the hole is gone.
Result<std::uint64_t> MemfdFaultService::fill_hole(RegionIndex region,
                                                   std::uint64_t first,
                                                   std::uint64_t end) {
  const auto& memory = memory_.regions[region];
  const auto from = memory.offset + (first << kPageShift);
  GODWIT_TRY_ASSIGN(const auto data,
                    next_data(memory.fd, from, memory.offset + (end << kPageShift)));
  // At least one page: if the hole is gone meanwhile, the kernel will say so.
  const auto bytes = std::max(data.start - from, kPageBytes);
  const auto progress = uffd_.map_zero(memory_.page({region, first}), bytes);
  if (progress.sys_errno == 0 || progress.sys_errno == EAGAIN || progress.sys_errno == EEXIST) {
    return progress.bytes >> kPageShift;
  }
  return fail_errno(progress.sys_errno, "UFFDIO_ZEROPAGE");
}

Status MemfdFaultService::map_pages(PageRun run, engine::MapResult& result) {
  int turns = 0;
  for (auto at = run.first; at < run.end();) {
    const auto progress =
        uffd_.map_existing(memory_.page({run.region, at}), (run.end() - at) << kPageShift);
    auto done = progress.bytes >> kPageShift;
    result.mapped += done;
    at += done;
    switch (progress.sys_errno) {
      case 0:
      case EAGAIN:
        break;
      case EEXIST:
        ++result.already;
        ++at;
        break;
      case EFAULT: {
        if (++turns > kMaxTurnsAtOnePage) {
          return fail(ErrorCode::kIo,
                      "UFFDIO_CONTINUE",
                      "a page is taken out of guest memory as fast as it is put in");
        }
        GODWIT_TRY_ASSIGN(done, fill_hole(run.region, at, run.end()));
        result.mapped += done;
        at += done;
        break;
      }
      case ENOENT:
        return fail(ErrorCode::kState,
                    "UFFDIO_CONTINUE",
                    "guest memory is not registered; call arm() first");
      default:
        return fail_errno(progress.sys_errno, "UFFDIO_CONTINUE");
    }
    if (progress.sys_errno != EFAULT || done > 0) {
      turns = 0;
    }
  }
  return {};
}

Result<engine::MapResult> MemfdFaultService::map(PageRun run) {
  if (!holds(memory_, run)) {
    return fail(ErrorCode::kInvalidArgument, "map", "pages outside the guest's memory");
  }
  engine::MapResult result;
  auto status = map_pages(run, result);
  if (result.already > 0) {
    // Once for all skipped pages, also after an error: what was skipped is mapped.
    GODWIT_TRY(uffd_.wake(memory_.page({run.region, run.first}), run.bytes()));
  }
  GODWIT_TRY(status);
  return result;
}

}  // namespace

Result<std::unique_ptr<engine::FaultService>> make_fault_service(const engine::GuestMemory& memory,
                                                                 bool process_guest) {
  Features wanted;
  wanted.missing_shmem = true;
  wanted.minor_shmem = true;
  GODWIT_TRY_ASSIGN(auto uffd,
                    Uffd::open(wanted, process_guest ? Mode::kUserFaultsEnough : Mode::kAllFaults));
  return std::make_unique<MemfdFaultService>(memory, std::move(uffd));
}

}  // namespace godwit::uffd
