#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "godwit/base/units.h"

namespace godwit::engine {

/// When each outstanding fault was read, so that whoever resolves it can tell its latency.
/// Thread: open() by the urgent loop, close() by any. Lock-free; a full table loses a figure, never
/// a fault.
class OpenFaults {
 public:
  void open(PageId page, std::int64_t read_ns) {
    for (const auto& slot : slots_) {
      if (slot.key.load(std::memory_order_relaxed) == key(page)) {
        return;  // two vCPUs wait for one page: it is resolved once, and the first stamp counts
      }
    }
    for (std::size_t i = 0; i < kSlots; ++i) {
      auto& slot = slots_[(hash(page) + i) % kSlots];
      if (slot.key.load(std::memory_order_relaxed) == 0) {
        slot.read_ns.store(read_ns, std::memory_order_relaxed);
        // release: pairs with the acquire in close(), which reads read_ns.
        slot.key.store(key(page), std::memory_order_release);
        return;
      }
    }
  }
  /// The stamp of the page's fault, once; 0 = none is open.
  std::int64_t close(PageId page) {
    for (std::size_t i = 0; i < kSlots; ++i) {
      auto& slot = slots_[(hash(page) + i) % kSlots];
      auto seen = slot.key.load(std::memory_order_acquire);
      if (seen == key(page)) {
        const auto read_ns = slot.read_ns.load(std::memory_order_relaxed);
        if (slot.key.compare_exchange_strong(seen, 0, std::memory_order_acq_rel)) {
          return read_ns;
        }
      }
    }
    return 0;
  }

 private:
  static constexpr std::size_t kSlots = 128;
  static std::uint64_t key(PageId page) {
    return (std::uint64_t{page.region + 1} << 48) | page.index;
  }
  static std::size_t hash(PageId page) {
    return static_cast<std::size_t>(page.index * 0x9E3779B97F4A7C15ULL >> 40);
  }
  struct Slot {
    std::atomic<std::uint64_t> key{0};
    std::atomic<std::int64_t> read_ns{0};
  };
  std::array<Slot, kSlots> slots_;
};

}  // namespace godwit::engine
