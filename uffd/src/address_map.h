#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include "godwit/base/result.h"
#include "godwit/engine/ports/memory.h"

namespace godwit::uffd {

/// Finds the page of an address of the guest mapping. Cost: a binary search over the regions.
class AddressMap {
 public:
  explicit AddressMap(const engine::GuestMemory& memory) {
    for (RegionIndex i = 0; i < memory.regions.size(); ++i) {
      const auto start = reinterpret_cast<std::uintptr_t>(memory.regions[i].guest);
      spans_.push_back({start, start + (memory.regions[i].page_count << kPageShift), i});
    }
    std::sort(spans_.begin(), spans_.end(), [](const Span& a, const Span& b) {
      return a.start < b.start;
    });
  }

  [[nodiscard]] std::optional<PageId> find(std::uintptr_t address) const {
    auto after = std::upper_bound(
        spans_.begin(), spans_.end(), address, [](std::uintptr_t at, const Span& span) {
          return at < span.start;
        });
    if (after == spans_.begin() || address >= std::prev(after)->end) {
      return std::nullopt;
    }
    const auto& span = *std::prev(after);
    return PageId{span.region, (address - span.start) >> kPageShift};
  }

 private:
  struct Span {
    std::uintptr_t start;
    std::uintptr_t end;
    RegionIndex region;
  };
  std::vector<Span> spans_;
};

/// Refuses a run that does not lie within one region of `memory`. Errors: kInvalidArgument.
inline Status check_held(const engine::GuestMemory& memory, PageRun run, const char* operation) {
  if (run.region < memory.regions.size()) {
    const auto pages = memory.regions[run.region].page_count;
    if (run.first <= pages && run.count <= pages - run.first) {
      return {};
    }
  }
  return fail(ErrorCode::kInvalidArgument, operation, "pages outside the guest's memory");
}

}  // namespace godwit::uffd
