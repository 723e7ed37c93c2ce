#include <memory>
#include <utility>

#include "faults/fault_service_base.h"
#include "faults/fault_services.h"
#include "fill_run.h"
#include "placing/populate.h"

// Mapping huge pages whose content is in the file. As for memory of 4 KiB pages, but everything
// goes by 2 MiB: the kernel reports a fault at the huge page's start, and UFFDIO_CONTINUE takes
// whole ones. Where the file has a hole, nothing of it was ever written, so it is zero. hugetlbfs
// has no UFFDIO_ZEROPAGE; the alias, which is not registered, is made to have the page, and
// CONTINUE is asked again. Nobody takes pages out of the file, so the second answer is another one;
// should it not be, that is an error and no loop.

namespace godwit::uffd {
namespace {

class HugeFaultService final : public FaultServiceBase {
 public:
  HugeFaultService(const engine::GuestMemory& memory, Uffd uffd)
      : FaultServiceBase(
            memory, std::make_shared<Uffd>(std::move(uffd)), Registration::kHugeMissingAndMinor) {}

  [[nodiscard]] std::uint64_t block_pages() const override {
    return memory().regions.empty() ? 1 : memory().regions[0].block_pages;
  }

 private:
  Status map_pages(PageRun run, engine::MapResult& result) override;
};

Status HugeFaultService::map_pages(PageRun run, engine::MapResult& result) {
  const auto& region = memory().regions[run.region];
  const auto block = region.block_pages;
  if (run.first % block != 0 || run.count % block != 0) {
    return fail(ErrorCode::kInvalidArgument, "map", "huge pages are mapped whole");
  }
  return fill_run(
      run,
      block,
      "UFFDIO_CONTINUE",
      result,
      [&](std::uint64_t page, std::uint64_t count) {
        return uffd().map_existing(memory().page({run.region, page}), count << kPageShift);
      },
      [&](std::uint64_t page, int turn) -> Result<std::uint64_t> {
        if (turn > 1) {
          return fail(ErrorCode::kIo,
                      "UFFDIO_CONTINUE",
                      "a huge page is taken out of guest memory while it is being mapped");
        }
        GODWIT_TRY(populate_huge_page(region, page / block));
        return 0;
      });
}

}  // namespace

Result<std::unique_ptr<engine::FaultService>> make_huge_fault_service(
    const engine::GuestMemory& memory, Mode mode) {
  Features wanted;
  wanted.missing_hugetlb = true;
  wanted.minor_hugetlb = true;
  GODWIT_TRY_ASSIGN(auto uffd, Uffd::open(wanted, mode));
  return std::make_unique<HugeFaultService>(memory, std::move(uffd));
}

}  // namespace godwit::uffd
