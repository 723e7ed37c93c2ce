#include <cstring>
#include <memory>

#include "godwit/uffd/anonymous_target.h"

#include "address_map.h"

namespace godwit::uffd {
namespace {

class DirectPlacer final : public engine::PagePlacer {
 public:
  explicit DirectPlacer(const engine::GuestMemory& memory) : memory_(memory) {}
  [[nodiscard]] const char* name() const override { return "memcpy"; }

  Status place(PageRun run, const std::byte* bytes) override {
    if (!holds(memory_, run)) {
      return fail(ErrorCode::kInvalidArgument, "place", "pages outside the guest's memory");
    }
    std::memcpy(memory_.page({run.region, run.first}), bytes, run.bytes());
    return {};
  }

  Status place_zero(PageRun run) override {
    if (!holds(memory_, run)) {
      return fail(ErrorCode::kInvalidArgument, "place_zero", "pages outside the guest's memory");
    }
    std::memset(memory_.page({run.region, run.first}), 0, run.bytes());
    return {};
  }

 private:
  const engine::GuestMemory memory_;
};

}  // namespace

std::unique_ptr<engine::PagePlacer> make_direct_placer(const engine::GuestMemory& memory) {
  return std::make_unique<DirectPlacer>(memory);
}

}  // namespace godwit::uffd
