#pragma once

#include <cstddef>

#include "godwit/engine/ports/memory.h"
#include "godwit/engine/ports/placing.h"

#include "address_map.h"

namespace godwit::uffd {

/// What all placers share: no call reaches a page outside the guest's memory.
class PlacerBase : public engine::PagePlacer {
 public:
  explicit PlacerBase(const engine::GuestMemory& memory) : memory_(memory) {}

  Status place(PageRun run, const std::byte* bytes) final {
    GODWIT_TRY(check_held(memory_, run, "place"));
    return put(run, bytes);
  }
  Status place_zero(PageRun run) final {
    GODWIT_TRY(check_held(memory_, run, "place_zero"));
    return put_zero(run);
  }

 protected:
  /// As place() and place_zero(), of a run that the memory has.
  virtual Status put(PageRun run, const std::byte* bytes) = 0;
  virtual Status put_zero(PageRun run) = 0;
  [[nodiscard]] const engine::GuestMemory& memory() const { return memory_; }

 private:
  const engine::GuestMemory memory_;
};

}  // namespace godwit::uffd
