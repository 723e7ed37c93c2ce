#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <vector>

#include "godwit/base/zeroed_array.h"
#include "godwit/engine/atomic_bitmap.h"
#include "godwit/engine/ports/dirty.h"

namespace godwit::engine {

/// A number that identifies a page in a set hash: the hash of a set is the XOR of its members'
/// numbers, so that source and target compare which pages are still missing without sending them.
std::uint64_t page_set_hash(PageId page);

/// The source's book of pages: which still have to go, which are being handed to a socket, how hot
/// each is.
///
/// A page is pending (the target's copy is old or missing, and the target has been told so), then
/// in flight (claimed by exactly one sender), then with the target; a write makes it pending again.
///
/// Only the migration thread makes pages pending, and only before the switch. Senders claim them:
/// the lanes of the bulk channels in every phase, and the urgent loop after the switch, all
/// concurrently.
class DirtyLedger {
 public:
  using Announce = std::function<void(PageRun)>;

  explicit DirtyLedger(std::vector<std::uint64_t> region_pages);

  /// Where the dirty source marks; absorb_dirty() takes the marks from there.
  DirtySink& sink() { return marks_; }

  /// Makes a run pending; `announce` gets the parts that were not (the target must learn that they
  /// are missing).
  void add_pending(PageRun run, const Announce& announce);
  /// Moves what producers marked since the last call into the pending set; returns how many pages
  /// were marked. Requires: DirtySource::sync() has returned. Thread: migration. Cost: O(dirty
  /// words).
  std::uint64_t absorb_dirty(const Announce& announce);
  /// As absorb_dirty(), but loses the mark of one page on purpose (source/planted.h); `lose` is
  /// asked page by page.
  std::uint64_t absorb_dirty_losing(const Announce& announce,
                                    const std::function<bool(PageId)>& lose);

  /// Takes pages of word `word` under `mask` for sending; returns those that are the caller's.
  /// Thread: any.
  std::uint64_t claim(RegionIndex region, std::uint64_t word, std::uint64_t mask);
  /// As claim(), and notes them as in flight until landed().
  std::uint64_t claim_in_flight(RegionIndex region, std::uint64_t word, std::uint64_t mask);
  /// The claimed pages were handed to the socket entirely.
  void landed(RegionIndex region, std::uint64_t word, std::uint64_t mask);
  [[nodiscard]] bool in_flight(PageId page) const {
    return in_flight_[page.region].test(page.index);
  }

  /// After a lost link: these pages are pending as well as those that were, and none is in flight.
  /// `again` gets those that were sent already, in words. Requires: nobody claims.
  void give_back(
      const std::vector<PageRun>& missing,
      const std::function<void(RegionIndex, std::uint64_t word, std::uint64_t bits)>& again);

  [[nodiscard]] const RegionBitmaps& pending() const { return pending_; }
  [[nodiscard]] std::uint64_t pending_pages() const {
    return pending_pages_.load(std::memory_order_acquire);
  }
  /// Hash of the pending set. Requires: no claim is running. Thread: migration.
  [[nodiscard]] std::uint64_t pending_hash() const {
    return pending_hash_.load(std::memory_order_relaxed);
  }

  /// 0 = never dirtied; else rises with how often and how recently (last two syncs weigh most).
  [[nodiscard]] std::uint8_t heat(PageId page) const { return heat_[page.region][page.index]; }
  [[nodiscard]] const std::vector<std::uint64_t>& region_pages() const { return region_pages_; }
  [[nodiscard]] std::uint64_t unique_pages() const { return unique_pages_; }

 private:
  /// The producers' end of dirty_.
  class Marks final : public DirtySink {
   public:
    explicit Marks(RegionBitmaps& dirty) : dirty_(dirty) {}
    void mark(RegionIndex region, std::uint64_t word, std::uint64_t mask) override {
      dirty_[region].set(word, mask);
    }

   private:
    RegionBitmaps& dirty_;
  };

  void add_word(RegionIndex region,
                std::uint64_t word,
                std::uint64_t bits,
                const Announce& announce);
  std::uint64_t take(RegionIndex region, std::uint64_t word, std::uint64_t mask);

  std::vector<std::uint64_t> region_pages_;
  RegionBitmaps dirty_;  // marked and not absorbed yet
  Marks marks_{dirty_};
  RegionBitmaps pending_;
  RegionBitmaps in_flight_;
  RegionBitmaps ever_;  // was pending at least once: counts the populated pages
  std::vector<ZeroedArray<std::uint8_t>> heat_;
  std::uint64_t unique_pages_ = 0;
  std::atomic<std::uint64_t> pending_pages_{0};
  std::atomic<std::uint64_t> pending_hash_{0};
};

}  // namespace godwit::engine
