#include <cerrno>
#include <memory>
#include <utility>

#include "godwit/uffd/fault_service.h"
#include "godwit/uffd/uffd.h"

#include "faults/fault_service_base.h"
#include "placing/populate.h"

// Mapping huge pages whose content is in the file. As for memory of 4 KiB pages (fault_service.cc),
// but everything goes by 2 MiB: the kernel reports a fault at the huge page's start, and
// UFFDIO_CONTINUE takes whole ones. What it says of the first one that it cannot do is its state:
//
//   EAGAIN  a part is done; the rest is asked for again.
//   EEXIST  it is mapped; skipped, and its waiters are woken.
//   EFAULT  the file has a hole there: nothing of it was ever written, so it is zero. hugetlbfs has
//           no UFFDIO_ZEROPAGE; the alias, which is not registered, is made to have the page, and
//           CONTINUE is asked again. Nobody takes pages out of the file, so the second answer is
//           another one; should it not be, that is an error and no loop.

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
  bool populated = false;
  for (auto at = run.first; at < run.end();) {
    const auto progress =
        uffd().map_existing(memory().page({run.region, at}), (run.end() - at) << kPageShift);
    const auto done = progress.bytes >> kPageShift;
    result.mapped += done;
    at += done;
    populated = populated && done == 0;
    switch (progress.sys_errno) {
      case 0:
      case EAGAIN:
        break;
      case EEXIST:
        result.already += block;
        at += block;
        populated = false;
        break;
      case EFAULT:
        if (populated) {
          return fail(ErrorCode::kIo,
                      "UFFDIO_CONTINUE",
                      "a huge page is taken out of guest memory while it is being mapped");
        }
        GODWIT_TRY(populate_huge_page(region, at / block));
        populated = true;
        break;
      case ENOENT:
        return fail(ErrorCode::kState,
                    "UFFDIO_CONTINUE",
                    "guest memory is not registered; call arm() first");
      default:
        return fail_errno(progress.sys_errno, "UFFDIO_CONTINUE", "a huge page of guest memory");
    }
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<engine::FaultService>> make_huge_fault_service(
    const engine::GuestMemory& memory, bool process_guest) {
  Features wanted;
  wanted.missing_hugetlb = true;
  wanted.minor_hugetlb = true;
  GODWIT_TRY_ASSIGN(auto uffd,
                    Uffd::open(wanted, process_guest ? Mode::kUserFaultsEnough : Mode::kAllFaults));
  return std::make_unique<HugeFaultService>(memory, std::move(uffd));
}

}  // namespace godwit::uffd
