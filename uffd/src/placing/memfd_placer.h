#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "godwit/engine/ports.h"

namespace godwit::uffd {

/// Places into memfd memory by a way to write to its file, which leaves the guest's mapping alone.
class MemfdPlacer : public engine::PagePlacer {
 public:
  explicit MemfdPlacer(engine::GuestMemory memory) : memory_(std::move(memory)) {}

  Status place(PageRun run, const std::byte* bytes) final;
  Status place_zero(PageRun run) final;

 protected:
  /// Writes to [at, at + size) of the region, in bytes from its start.
  virtual Status write(const engine::MemoryRegion& region,
                       std::uint64_t at,
                       const std::byte* bytes,
                       std::uint64_t size) = 0;

 private:
  Status write_zeros(const engine::MemoryRegion& region, std::uint64_t at, std::uint64_t size);

  engine::GuestMemory memory_;
};

}  // namespace godwit::uffd
