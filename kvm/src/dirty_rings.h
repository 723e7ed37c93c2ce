#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "godwit/base/result.h"
#include "godwit/base/units.h"
#include "godwit/kvm/vcpu.h"
#include "godwit/kvm/vm.h"

struct kvm_dirty_gfn;

namespace godwit::kvm {

/// One vCPU's ring as user space sees it: mapped, with the place of the next entry.
/// Thread: one at a time. Ownership: the mapping; moves only.
class VcpuRing {
 public:
  /// Requires: the Vm's rings were enabled with this size before the vCPU was made.
  static Result<VcpuRing> map(const Vcpu& vcpu, std::uint32_t entries);

  /// An entry as the kernel wrote it.
  struct Entry {
    std::uint32_t slot = 0;
    std::uint64_t offset = 0;
  };
  /// Copies the next entry and hands its place back, to be reset; nullopt = nothing there.
  std::optional<Entry> take();
  /// Whether half of the ring or more waits to be taken.
  [[nodiscard]] bool half_full() const;
  [[nodiscard]] std::uint32_t entries() const { return entries_; }

 private:
  struct Unmap {
    std::size_t bytes = 0;
    void operator()(kvm_dirty_gfn* ring) const;
  };
  VcpuRing(std::unique_ptr<kvm_dirty_gfn, Unmap> ring, std::uint32_t entries)
      : ring_(std::move(ring)), entries_(entries) {}

  std::unique_ptr<kvm_dirty_gfn, Unmap> ring_;
  std::uint32_t entries_ = 0;
  std::uint32_t next_ = 0;  ///< runs on over the end: the place is next_ % entries_
};

/// Resets `count` entries that were taken: their pages are armed again on return.
/// Errors: kIo; kInternal when the kernel knows of fewer.
Status reset_rings(const Vm& vm, std::uint64_t count);

}  // namespace godwit::kvm
