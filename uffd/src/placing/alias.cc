#include <cstring>
#include <memory>

#include "placing/memfd_placer.h"
#include "placing/placers.h"

namespace godwit::uffd {
namespace {

class AliasPlacer final : public MemfdPlacer {
 public:
  using MemfdPlacer::MemfdPlacer;
  [[nodiscard]] const char* name() const override { return "alias"; }
  [[nodiscard]] std::byte* place_of(PageRun run) override {
    return memory().regions[run.region].alias + (run.first << kPageShift);
  }

 protected:
  Status write(const engine::MemoryRegion& region,
               std::uint64_t at,
               const std::byte* bytes,
               std::uint64_t size) override {
    std::memcpy(region.alias + at, bytes, size);
    return {};
  }
};

}  // namespace

std::unique_ptr<engine::PagePlacer> make_alias_placer(const engine::GuestMemory& memory) {
  return std::make_unique<AliasPlacer>(memory);
}

}  // namespace godwit::uffd
