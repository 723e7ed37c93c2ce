#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "godwit/base/fd.h"
#include "godwit/base/result.h"
#include "godwit/base/units.h"
#include "godwit/kvm/system.h"

namespace godwit::kvm {

/// One piece of guest-physical memory. Ownership: `host` belongs to the VMM and outlives the Vm.
struct Memslot {
  std::uint64_t gpa = 0;         ///< multiple of 4 KiB
  std::uint64_t page_count = 0;  ///< pages of 4 KiB
  std::byte* host = nullptr;     ///< the mapping that the guest runs on
  RegionIndex region = 0;        ///< of the guest's memory
  std::uint64_t first_page = 0;  ///< of that region; multiple of 64, so that words of marks match
};

/// A virtual machine without devices.
/// Thread: any, also while vCPUs run. Ownership: moves only.
class Vm {
 public:
  /// Errors: kUnsupported, kPermission, kIo.
  static Result<Vm> create(const System& system);

  /// Adds a slot; slots are numbered from 0 in the order of these calls. Errors: kInvalidArgument,
  /// kIo.
  Status add_memslot(const Memslot& slot);
  /// Switches KVM_MEM_LOG_DIRTY_PAGES of a slot. Guarantees: idempotent.
  /// Cost: switching on write-protects what the guest has mapped, once.
  Status set_dirty_logging(std::uint32_t slot, bool on);
  /// Whether set_dirty_logging(slot, true) is in force.
  [[nodiscard]] bool dirty_logging(std::uint32_t slot) const;

  /// The machine wrote a page in the guest's stead, which no log of KVM's sees. Called after the
  /// write, so that whoever takes it reads the new content.
  void note_written(PageId page);
  /// What was noted since the last call.
  [[nodiscard]] std::vector<PageId> take_written();

  /// Gives every vCPU made from now on a dirty ring of `entries`, by `capability`
  /// (KVM_CAP_DIRTY_LOG_RING or its successor). Errors: kInvalidArgument when the kernel refuses.
  Status enable_dirty_rings(int capability, std::uint32_t entries);
  /// Entries of each vCPU's ring; 0 = there are none.
  [[nodiscard]] std::uint32_t dirty_ring_entries() const { return ring_entries_; }

  [[nodiscard]] int fd() const { return fd_.get(); }
  /// Slots once added stay: a number below the count remains good.
  [[nodiscard]] std::uint32_t memslot_count() const;
  /// Requires: slot < memslot_count().
  [[nodiscard]] Memslot memslot(std::uint32_t slot) const;

 private:
  struct Slots;
  explicit Vm(Fd fd);
  Fd fd_;
  std::shared_ptr<Slots> slots_;
  std::uint32_t ring_entries_ = 0;
};

}  // namespace godwit::kvm
