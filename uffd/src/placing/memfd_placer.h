#pragma once

#include <cstddef>
#include <cstdint>

#include "godwit/engine/ports/memory.h"
#include "godwit/engine/ports/placing.h"

#include "placing/placer_base.h"

namespace godwit::uffd {

/// Places into memfd memory by a way to write to its file, which leaves the guest's mapping alone.
class MemfdPlacer : public PlacerBase {
 public:
  using PlacerBase::PlacerBase;

 protected:
  Status put(PageRun run, const std::byte* bytes) final;
  Status put_zero(PageRun run) final;
  /// Writes to [at, at + size) of the region, in bytes from its start.
  virtual Status write(const engine::MemoryRegion& region,
                       std::uint64_t at,
                       const std::byte* bytes,
                       std::uint64_t size) = 0;

 private:
  Status write_zeros(const engine::MemoryRegion& region, std::uint64_t at, std::uint64_t size);
};

}  // namespace godwit::uffd
