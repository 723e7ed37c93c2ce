#include "godwit/uffd/fault_service.h"

#include <algorithm>
#include <cerrno>
#include <memory>
#include <utility>

#include "godwit/uffd/uffd.h"

#include "faults/fault_service_base.h"
#include "scan/data_extent.h"

// Mapping pages whose content is in the file, while others do the same.
//
// The guest's mapping is registered for MISSING faults (the file has a hole there) and MINOR faults
// (the file has the page, the page table has not). The bytes were put into the file by another way,
// so both are answered by UFFDIO_CONTINUE, which fills page-table entries from the file. It does a
// whole run in one call, and stops at the first page that it cannot do. What it then says is not an
// error but the state of that page:
//
//   EAGAIN  Some pages of the run are done; the count says how many. The kernel reports a partial
//           run this way and keeps the reason to itself, so the rest is asked for again, and now
//           the reason comes for its first page.
//   EEXIST  The page is mapped: by another thread's overlapping run, or before. We skip it. Its
//           waiters are woken nevertheless: whoever mapped it woke those that were queued then. One
//           wake too many is harmless; one too few is a guest that hangs.
//   EFAULT  The file has a hole there: a page that is valid and zero, never written.
//           UFFDIO_ZEROPAGE makes it, for the whole hole at once. If that says EEXIST, somebody
//           was faster, and CONTINUE is asked again.
//
// Every turn moves on, by pages or from "hole" to "exists", unless somebody takes pages out of the
// file meanwhile, which the owner of the memory must not do; the number of turns at one page is
// bounded so that even then the urgent thread gets an error and not an endless loop.

namespace godwit::uffd {
namespace {

/// Turns between "hole" and "exists" at one page; a race with another thread takes one.
constexpr int kMaxTurnsAtOnePage = 16;

class MemfdFaultService final : public FaultServiceBase {
 public:
  MemfdFaultService(const engine::GuestMemory& memory, Uffd uffd)
      : FaultServiceBase(
            memory, std::make_shared<Uffd>(std::move(uffd)), Registration::kMissingAndMinor) {}

 private:
  Status map_pages(PageRun run, engine::MapResult& result) override;
  Result<std::uint64_t> fill_hole(RegionIndex region, std::uint64_t first, std::uint64_t end);
};

/// Gives the file zero pages from page `first` to where its hole ends, at most to `end`, and maps
/// them; returns how many this call mapped, 0 when the hole is gone.
Result<std::uint64_t> MemfdFaultService::fill_hole(RegionIndex region,
                                                   std::uint64_t first,
                                                   std::uint64_t end) {
  const auto& area = memory().regions[region];
  const auto from = area.offset + (first << kPageShift);
  GODWIT_TRY_ASSIGN(const auto data, next_data(area.fd, from, area.offset + (end << kPageShift)));
  // At least one page: if the hole is gone meanwhile, the kernel will say so.
  const auto bytes = std::max(data.start - from, kPageBytes);
  const auto progress = uffd().map_zero(memory().page({region, first}), bytes);
  if (progress.sys_errno == 0 || progress.sys_errno == EAGAIN || progress.sys_errno == EEXIST) {
    return progress.bytes >> kPageShift;
  }
  return fail_errno(progress.sys_errno, "UFFDIO_ZEROPAGE");
}

Status MemfdFaultService::map_pages(PageRun run, engine::MapResult& result) {
  int turns = 0;
  for (auto at = run.first; at < run.end();) {
    const auto progress =
        uffd().map_existing(memory().page({run.region, at}), (run.end() - at) << kPageShift);
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
