#include <atomic>
#include <cstring>
#include <memory>
#include <vector>

#include "placing/placer_base.h"
#include "placing/placers.h"
#include "placing/populate.h"

// Guest memory on hugetlbfs: a file whose pages the kernel allocates, maps and protects 2 MiB at a
// time. It has no write(), so bytes go through the alias. A page that the kernel cannot give (a
// limit of the hugetlb controller, a memory policy; the pool itself was reserved by mapping the
// file) would be a SIGBUS there. MADV_POPULATE_WRITE in front of the first bytes of each huge page
// makes it an error.

namespace godwit::uffd {
namespace {

class HugePlacer final : public PlacerBase {
 public:
  explicit HugePlacer(const engine::GuestMemory& memory) : PlacerBase(memory) {
    for (const auto& region : memory.regions) {
      populated_.emplace_back((region.page_count + region.block_pages - 1) / region.block_pages);
    }
  }
  [[nodiscard]] const char* name() const override { return "alias"; }

 protected:
  Status put(PageRun run, const std::byte* bytes) override {
    GODWIT_TRY(populate(run));
    std::memcpy(start_of(run), bytes, run.bytes());
    return {};
  }
  Status put_zero(PageRun run) override {
    GODWIT_TRY(populate(run));
    std::memset(start_of(run), 0, run.bytes());
    return {};
  }

 private:
  [[nodiscard]] std::byte* start_of(PageRun run) const {
    return memory().regions[run.region].alias + (run.first << kPageShift);
  }

  Status populate(PageRun run) {
    const auto& region = memory().regions[run.region];
    for (auto block = run.first / region.block_pages; block * region.block_pages < run.end();
         ++block) {
      // relaxed: only saves the call; the page is the kernel's matter, and asking twice is
      // harmless.
      auto& done = populated_[run.region][block];
      if (!done.load(std::memory_order_relaxed)) {
        GODWIT_TRY(populate_huge_page(region, block));
        done.store(true, std::memory_order_relaxed);
      }
    }
    return {};
  }

  std::vector<std::vector<std::atomic<bool>>> populated_;  ///< a flag a huge page
};

}  // namespace

std::unique_ptr<engine::PagePlacer> make_huge_placer(const engine::GuestMemory& memory) {
  return std::make_unique<HugePlacer>(memory);
}

}  // namespace godwit::uffd
