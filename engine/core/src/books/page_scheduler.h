#pragma once

#include <array>
#include <cstdint>
#include <mutex>
#include <vector>

#include <boost/lockfree/spsc_queue.hpp>

#include "godwit/wire/format.h"

#include "books/dirty_ledger.h"

namespace godwit::engine {

/// Pages of one region that were claimed for one frame; at most wire::kMaxBatchPages,
/// in ascending order.
struct PageBatchPlan {
  RegionIndex region = 0;
  std::uint32_t count = 0;
  std::uint32_t prefetched = 0;  ///< of these, claimed because a fault was near
  std::uint32_t limit = wire::kMaxBatchPages;  ///< the most that may be claimed; set by the asker
  std::array<std::uint64_t, wire::kMaxBatchPages> pages{};
};

// Which page goes next.
//
// Pre-copy walks the pending bitmap in address order: every page goes once a round, so order does
// not matter and long runs are cheapest. With several bulk channels each walks the chunks that are
// its own (wire::channel_of()), so that the copies of a page never travel on two connections. After
// the switch content cannot change any more, so any channel may carry any page, and order decides
// how often the guest waits. First come the neighbours of recent demand faults (a fault says where
// the guest works now), then the pages dirtied most often and most recently during pre-copy (they
// are the working set, and by construction they are what the guest lost at the switch), then the
// rest in address order. The hot order is a counting sort by heat, built once after the guest runs
// at the target, so it costs the blackout nothing. It ends, since every call claims pages or finds
// none.

/// One channel's walk over its pending pages. Thread: one at a time; cursors of other channels and
/// the urgent loop may claim at the same time.
class RoundCursor {
 public:
  explicit RoundCursor(DirtyLedger& ledger, std::uint32_t channel = 0, std::uint32_t channels = 1)
      : ledger_(ledger), channel_(channel), channels_(channels) {}
  /// A new pass over the pending pages.
  void restart() {
    region_ = 0;
    word_ = 0;
  }
  /// Claims the next pages of this pass in address order; false when the pass is over.
  bool next(PageBatchPlan& plan);

 private:
  bool step_to_own_word();

  DirtyLedger& ledger_;
  std::uint32_t channel_;
  std::uint32_t channels_;
  RegionIndex region_ = 0;
  std::uint64_t word_ = 0;
};

/// The background stream's order. Thread: any for next_background() (a lock is held while one batch
/// is chosen: once in 64 pages, never on the way of a demand fault); hint() from the urgent loop
/// only.
class PageScheduler {
 public:
  explicit PageScheduler(DirtyLedger& ledger);

  /// Sorts what is pending by heat. Once, after the switch.
  void prepare_background();
  /// Claims the next pages for the background stream; false when nothing is pending any more.
  bool next_background(PageBatchPlan& plan);
  /// A demand fault hit `page`: its neighbours go next. Lock-free; a full queue drops the hint,
  /// never a page.
  void hint(PageId page) { hints_.push(page); }

 private:
  static constexpr std::size_t kHintCapacity = 1024;
  bool take_window(PageId around, PageBatchPlan& plan);
  bool take_hot(PageBatchPlan& plan);

  struct HotPage {
    RegionIndex region;
    std::uint64_t index;
  };

  DirtyLedger& ledger_;
  // One lane at a time chooses: guards everything below except the pushing of hints.
  std::mutex mutex_;
  RoundCursor rest_;
  std::vector<HotPage> hot_;
  std::size_t next_hot_ = 0;
  boost::lockfree::spsc_queue<PageId, boost::lockfree::capacity<kHintCapacity>> hints_;
};

}  // namespace godwit::engine
