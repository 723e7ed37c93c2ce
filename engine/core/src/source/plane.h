#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "godwit/engine/atomic_bitmap.h"
#include "godwit/engine/options.h"
#include "godwit/engine/ports/memory.h"

#include "books/dirty_ledger.h"
#include "books/page_scheduler.h"

namespace godwit::engine {

/// What was sent so far. Relaxed counters: those of the bulk channels are exact once an order is
/// done, the others when their thread has ended.
struct SourceCounters {
  std::atomic<std::uint64_t> precopy_pages{0};
  // Of pre-copy, see MoveCosts.
  std::atomic<std::uint64_t> data_pages{0};
  std::atomic<std::int64_t> data_ns{0};
  std::atomic<std::uint64_t> zero_pages{0};
  std::atomic<std::int64_t> zero_ns{0};
  std::atomic<std::uint64_t> background_pages{0};
  std::atomic<std::uint64_t> prefetched_pages{0};
  std::atomic<std::uint64_t> sent_twice_pages{0};    ///< two copies after the switch
  std::atomic<std::uint64_t> payload_bytes{0};       ///< of the bulk channels
  std::atomic<std::uint64_t> frame_bytes{0};         ///< of the bulk channels
  std::atomic<std::uint64_t> urgent_frame_bytes{0};  ///< of the urgent channel
};

/// What the source's threads share: the guest's memory, the books of its pages, and what was sent.
/// Made before the threads, and outlives them. Thread: any; see the members' own rules.
struct SourcePlane {
  SourcePlane(const GuestMemory& guest_memory, const SourceOptions& source_options);

  /// Counts a copy of the page that goes after the switch.
  void goes_after_switch(RegionIndex region, std::uint64_t page) {
    const auto mask = 1ULL << (page % 64);
    if ((sent_after_switch[region].set(page / 64, mask) & mask) != 0) {
      counters.sent_twice_pages.fetch_add(1, std::memory_order_relaxed);
    }
  }

  const GuestMemory& memory;
  const SourceOptions& options;
  DirtyLedger ledger;
  PageScheduler scheduler;
  RegionBitmaps sent_after_switch;
  RegionBitmaps sent_as_zero;  ///< pages whose last copy went as a zero page
  SourceCounters counters;
  std::atomic<bool> switch_requested{false};  ///< ends a round early
  std::atomic<bool> shrinks{true};            ///< what is left became less in the last round
};

}  // namespace godwit::engine
