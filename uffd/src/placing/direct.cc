#include <cstring>
#include <memory>

#include "placing/placer_base.h"
#include "placing/placers.h"

namespace godwit::uffd {
namespace {

class DirectPlacer final : public PlacerBase {
 public:
  using PlacerBase::PlacerBase;
  [[nodiscard]] const char* name() const override { return "memcpy"; }

 protected:
  Status put(PageRun run, const std::byte* bytes) override {
    std::memcpy(memory().page({run.region, run.first}), bytes, run.bytes());
    return {};
  }
  Status put_zero(PageRun run) override {
    std::memset(memory().page({run.region, run.first}), 0, run.bytes());
    return {};
  }
};

}  // namespace

std::unique_ptr<engine::PagePlacer> make_direct_placer(const engine::GuestMemory& memory) {
  return std::make_unique<DirectPlacer>(memory);
}

}  // namespace godwit::uffd
