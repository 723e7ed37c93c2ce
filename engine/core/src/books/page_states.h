#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "godwit/base/mapping.h"
#include "godwit/base/result.h"
#include "godwit/base/units.h"
#include "godwit/engine/atomic_bitmap.h"
#include "godwit/engine/ports/placing.h"

#include "books/map_blocks.h"

namespace godwit::engine {

/// Who writes a page at the target. A page has one writer at a time.
enum class PageOwner : std::uint8_t { kNone = 0, kUrgent = 1, kBulk = 2 };

/// What the urgent loop does about a fault.
enum class FaultDecision : std::uint8_t {
  kRequest,  ///< the page is absent and nobody asked for it yet
  kWait,     ///< asked for already, or somebody is writing it: its owner maps and wakes
  kMap,      ///< the content is valid: map it and wake
};

/// What a claim found.
struct ClaimResult {
  bool claimed = false;
  /// The file may hold old bytes of this page: zero must be written, not assumed.
  bool backed = false;
};

// Every page at the target is in one of four states, one byte a page:
//
//   present  the content is valid (at first a hole, which reads zero); the guest's page table may
//            not have it yet
//   absent   the source has a newer copy
//   claimed  one owner writes it: a compare-and-swap before the first byte, so that two copies on
//            two channels cannot mix
//   mapped   present, and the guest's page table has it
//
// `requested` (a demand request is out) and `backed` (the file has bytes here) are orthogonal bits.
// Zero means "present, a hole", so the table is a lazily populated mapping and costs nothing where
// the guest has nothing.

/// The target's page states. Thread: any; each transition is one atomic operation on the page's
/// byte.
class PageStates {
 public:
  /// With Placing::kMaps a page that is published with content is mapped at once, and may become
  /// old again: its bytes are forgotten then, as PagePlacer::retract() does.
  /// `block_pages`: as FaultService::block_pages(). With more than one, blocks() counts along.
  static Result<std::unique_ptr<PageStates>> create(const std::vector<std::uint64_t>& region_pages,
                                                    Placing placing = Placing::kBehind,
                                                    std::uint64_t block_pages = 1);

  /// The source announced that its copy is newer. Returns how many of the pages are in the guest's
  /// page table (Placing::kMaps only): they must be retracted. Errors: kProtocol when a page is
  /// outside, being written, or mapped (Placing::kBehind).
  Result<std::uint64_t> mark_absent(PageRun run);
  /// Takes an absent page for writing. Not claimed: somebody else had it first, the bytes go to
  /// scratch.
  ClaimResult claim(PageId page, PageOwner owner);
  /// The owner has written the page. Returns whether a fault asked for it; with blocks, whether
  /// its block is to be mapped now (MapBlocks::became_valid()).
  bool publish(PageId page, PageOwner owner, bool backed);
  /// The owner failed: the page is absent again.
  void abandon(PageId page, PageOwner owner);
  /// Decides about a fault, and notes the request if it is the first.
  FaultDecision on_fault(PageId page);
  /// The run of valid, backed, not yet mapped pages around `page` inside its aligned window of 64
  /// pages; just the page when it is a hole.
  [[nodiscard]] PageRun mappable_run(PageId page) const;
  /// Pages of the run that are present become mapped.
  void mark_mapped(PageRun run);
  /// The next run, at or after `from`, of backed pages that are valid and unmapped; count 0 = none
  /// in this region.
  [[nodiscard]] PageRun next_unmapped(RegionIndex region,
                                      std::uint64_t from,
                                      std::uint64_t most) const;

  /// Calls `found` for every run of absent pages, in ascending order, and `asked` for each of them
  /// that a fault has asked for. Requires: nobody writes pages. O(pages that were ever announced).
  void for_each_absent(const std::function<void(PageRun)>& found,
                       const std::function<void(PageId)>& asked) const;

  /// Null unless pages are mapped in blocks.
  [[nodiscard]] MapBlocks* blocks() const { return blocks_.get(); }

  [[nodiscard]] bool contains(PageRun run) const;
  /// Nobody has these pages or writes them. Requires: contains().
  [[nodiscard]] bool all_absent(PageRun run) const;
  [[nodiscard]] std::uint64_t absent_pages() const {
    return absent_.load(std::memory_order_acquire);
  }
  [[nodiscard]] std::uint64_t absent_hash() const {
    return absent_hash_.load(std::memory_order_relaxed);
  }
  [[nodiscard]] std::uint64_t installed() const {
    return installed_.load(std::memory_order_relaxed);
  }
  [[nodiscard]] const std::vector<std::uint64_t>& region_pages() const { return region_pages_; }

 private:
  PageStates(std::vector<std::uint64_t> region_pages, Placing placing)
      : region_pages_(std::move(region_pages)),
        placing_(placing),
        announced_(chunks_of(region_pages_)) {}
  static std::vector<std::uint64_t> chunks_of(const std::vector<std::uint64_t>& region_pages);
  [[nodiscard]] std::atomic<std::uint8_t>& at(PageId page) const {
    return reinterpret_cast<std::atomic<std::uint8_t>*>(tables_[page.region].data())[page.index];
  }

  std::vector<std::uint64_t> region_pages_;
  const Placing placing_;
  std::vector<Mapping> tables_;
  std::unique_ptr<MapBlocks> blocks_;
  // Chunks (wire::kChunkPages) with a page that was ever absent: only these hold backed pages.
  RegionBitmaps announced_;
  std::atomic<std::uint64_t> absent_{0};  // absent or claimed
  std::atomic<std::uint64_t> absent_hash_{0};
  std::atomic<std::uint64_t> installed_{0};
};

}  // namespace godwit::engine
