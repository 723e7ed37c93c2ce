#include <memory>
#include <utility>

#include "faults/fault_service_base.h"
#include "faults/fault_services.h"
#include "fill_run.h"

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

std::unique_ptr<engine::FaultService> make_anonymous_fault_service(
    const engine::GuestMemory& memory, std::shared_ptr<Uffd> uffd) {
  return std::make_unique<AnonymousFaultService>(memory, std::move(uffd));
}

}  // namespace godwit::uffd
