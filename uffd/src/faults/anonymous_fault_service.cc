#include <memory>
#include <utility>

#include "godwit/uffd/anonymous_target.h"
#include "godwit/uffd/uffd.h"

#include "faults/fault_service_base.h"
#include "fill_run.h"
#include "placing/placers.h"

namespace godwit::uffd {
namespace {

class AnonymousFaultService final : public FaultServiceBase {
 public:
  AnonymousFaultService(const engine::GuestMemory& memory, std::shared_ptr<Uffd> uffd)
      : FaultServiceBase(memory, std::move(uffd), Registration::kMissing) {}

 private:
  Status map_pages(PageRun run, engine::MapResult& result) override {
    return fill_run(run, "UFFDIO_ZEROPAGE", result, [&](std::uint64_t page, std::uint64_t count) {
      return uffd().map_zero(memory().page({run.region, page}), count << kPageShift);
    });
  }
};

}  // namespace

Result<AnonymousTarget> make_anonymous_target(const engine::GuestMemory& memory,
                                              bool process_guest) {
  GODWIT_TRY_ASSIGN(auto opened,
                    Uffd::open({}, process_guest ? Mode::kUserFaultsEnough : Mode::kAllFaults));
  const auto uffd = std::make_shared<Uffd>(std::move(opened));
  return AnonymousTarget{make_copy_placer(memory, uffd),
                         std::make_unique<AnonymousFaultService>(memory, uffd)};
}

}  // namespace godwit::uffd
