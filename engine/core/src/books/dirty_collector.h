#pragma once

#include <array>
#include <atomic>

#include "godwit/engine/atomic_bitmap.h"
#include "godwit/engine/ports/dirty.h"

namespace godwit::engine {

/// Spreads every mark of the dirty producers to the private bitmaps of all attached consumers
/// (migration, dirty-rate meter, checkpoint), so that no consumer takes another's bits. Thread:
/// mark() from any; attach() and detach() while no producer runs, or before the consumer relies on
/// it.
class DirtyCollector : public DirtySink {
 public:
  static constexpr std::size_t kMaxConsumers = 4;

  /// Returns false when all places are taken. Ownership: the bitmaps outlive their attachment.
  bool attach(RegionBitmaps& consumer) {
    for (auto& slot : consumers_) {
      RegionBitmaps* expected = nullptr;
      // release: pairs with the acquire in mark().
      if (slot.compare_exchange_strong(expected, &consumer, std::memory_order_acq_rel)) {
        return true;
      }
    }
    return false;
  }
  void detach(RegionBitmaps& consumer) {
    for (auto& slot : consumers_) {
      RegionBitmaps* expected = &consumer;
      slot.compare_exchange_strong(expected, nullptr, std::memory_order_acq_rel);
    }
  }
  void mark(RegionIndex region, std::uint64_t word, std::uint64_t mask) override {
    for (auto& slot : consumers_) {
      // acquire: pairs with attach().
      if (auto* consumer = slot.load(std::memory_order_acquire); consumer != nullptr) {
        (*consumer)[region].set(word, mask);
      }
    }
  }

 private:
  std::array<std::atomic<RegionBitmaps*>, kMaxConsumers> consumers_{};
};

}  // namespace godwit::engine
