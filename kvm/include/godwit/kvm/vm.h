#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "godwit/base/fd.h"
#include "godwit/base/result.h"
#include "godwit/kvm/system.h"

namespace godwit::kvm {

/// One piece of guest-physical memory. Ownership: `host` belongs to the VMM and outlives the Vm.
struct Memslot {
  std::uint64_t gpa = 0;         ///< multiple of 4 KiB
  std::uint64_t page_count = 0;  ///< pages of 4 KiB
  std::byte* host = nullptr;     ///< the mapping that the guest runs on
};

/// A virtual machine without devices.
/// Thread: add_memslot() and set_dirty_logging() from one thread at a time. Ownership: moves only.
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
  [[nodiscard]] bool dirty_logging(std::uint32_t slot) const { return logging_[slot]; }

  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] const std::vector<Memslot>& memslots() const { return memslots_; }

 private:
  explicit Vm(Fd fd) : fd_(std::move(fd)) {}
  Fd fd_;
  std::vector<Memslot> memslots_;
  std::vector<bool> logging_;
};

}  // namespace godwit::kvm
