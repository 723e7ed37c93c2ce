#pragma once

#include <cstdint>
#include <mutex>
#include <vector>

#include "godwit/base/result.h"
#include "godwit/base/units.h"
#include "godwit/engine/ports/memory.h"
#include "godwit/kvm/vm.h"

struct kvm_run;

namespace godwit::kvm {

/// Guest memory as KVM is told of it: cut into slots of equal size, each added when it is needed.
/// Thread: any, also while vCPUs run.
class MemoryPieces {
 public:
  /// `slots_max`: KVM_CAP_NR_MEMSLOTS. Requires: `vm` outlives this, and has no other slots there.
  MemoryPieces(Vm& vm, const engine::GuestMemory& memory, std::uint32_t slots_max);

  /// Adds the pieces that hold pages of the run. Idempotent. Errors: kIo, and kNoMemory by errno:
  /// the kernel's books of a slot (memory_pieces.cc).
  Status add(PageRun run);
  /// Adds the pieces that hold a page that was ever written.
  Status add_populated(engine::PopulatedScan& scan);
  /// Answers an exit for want of memory (KVM_EXIT_MMIO): adds the piece and carries the access out.
  /// False: the address is not the guest's memory. Requires: the exit is completed by entering the
  /// guest again, as always.
  Result<bool> on_mmio(kvm_run& run);

  [[nodiscard]] std::uint64_t piece_pages() const { return piece_pages_; }

 private:
  Vm& vm_;
  const engine::GuestMemory memory_;
  const std::uint64_t piece_pages_;
  std::mutex mutex_;
  std::vector<std::vector<bool>> added_;  ///< by region, by piece
};

/// Pages of a piece: a GiB, or more where the memory would need more than half of `slots_max`.
std::uint64_t piece_pages(const engine::GuestMemory& memory, std::uint32_t slots_max);

}  // namespace godwit::kvm
