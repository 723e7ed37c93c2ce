#include <algorithm>
#include <cerrno>
#include <memory>
#include <utility>

#include "faults/fault_service_base.h"
#include "faults/fault_services.h"
#include "fill_run.h"
#include "scan/data_extent.h"

// Mapping pages whose content is in the file.
//
// The guest's mapping is registered for MISSING faults (the file has a hole there) and MINOR faults
// (the file has the page, the page table has not). The bytes were put into the file by another way,
// so both are answered by UFFDIO_CONTINUE, which fills page-table entries from the file. Where that
// finds a hole, UFFDIO_ZEROPAGE makes the page, for the whole hole at once. If it says EEXIST,
// somebody was faster, and CONTINUE is asked again.

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
  return fill_run(
      run,
      1,
      "UFFDIO_CONTINUE",
      result,
      [&](std::uint64_t page, std::uint64_t count) {
        return uffd().map_existing(memory().page({run.region, page}), count << kPageShift);
      },
      [&](std::uint64_t page, int turn) -> Result<std::uint64_t> {
        if (turn > kMaxTurnsAtOnePage) {
          return fail(ErrorCode::kIo,
                      "UFFDIO_CONTINUE",
                      "a page is taken out of guest memory as fast as it is put in");
        }
        return fill_hole(run.region, page, run.end());
      });
}

}  // namespace

Result<std::unique_ptr<engine::FaultService>> make_memfd_fault_service(
    const engine::GuestMemory& memory, Mode mode) {
  Features wanted;
  wanted.missing_shmem = true;
  wanted.minor_shmem = true;
  GODWIT_TRY_ASSIGN(auto uffd, Uffd::open(wanted, mode));
  return std::make_unique<MemfdFaultService>(memory, std::move(uffd));
}

}  // namespace godwit::uffd
