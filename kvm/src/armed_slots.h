#pragma once

#include <cstdint>
#include <vector>

#include "godwit/base/result.h"
#include "godwit/engine/ports/dirty.h"
#include "godwit/engine/ports/memory.h"
#include "godwit/kvm/vm.h"

namespace godwit::kvm {

/// Which memslots log. Those that hold no page do not, until they hold one.
/// Thread: the migration thread.
class ArmedSlots {
 public:
  /// `populated` null: every slot may hold pages. Requires: both outlive this.
  ArmedSlots(Vm& vm, engine::PopulatedScan* populated) : vm_(vm), populated_(populated) {}

  /// Switches the log of each slot that holds a page on.
  Status start();
  /// The same for slots that hold their first page now; all their pages are marked, and what the
  /// machine wrote itself. Guarantees: what was written to a slot that does not log, before this is
  /// called, is marked when it returns.
  Status catch_up(engine::DirtySink& sink);
  /// Switches all logs off; returns the first failure, and goes on behind it.
  Status stop();

  struct Armed {
    std::uint32_t slot = 0;
    Memslot memory;
  };
  [[nodiscard]] const std::vector<Armed>& armed() const { return armed_; }

 private:
  void take_new_slots();
  Status arm_used(engine::DirtySink* sink);

  Vm& vm_;
  engine::PopulatedScan* populated_;
  std::uint32_t known_ = 0;  ///< slots, from the first
  std::vector<Armed> idle_;  ///< those that are not, by address
  std::vector<Armed> armed_;
};

}  // namespace godwit::kvm
