#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <vector>

#include "godwit/base/units.h"

namespace godwit::engine {

/// Counts, for each block of pages that can only be mapped together, the pages that are not valid
/// yet, and decides who maps the block: one word a block, so that "the last page has come" and
/// "somebody waits" cannot miss each other. Thread: any; became_absent() before the guest runs
/// here.
class MapBlocks {
 public:
  MapBlocks(const std::vector<std::uint64_t>& region_pages, std::uint64_t block_pages)
      : region_pages_(region_pages), block_pages_(block_pages) {
    for (const auto pages : region_pages) {
      words_.emplace_back((pages + block_pages - 1) / block_pages);
    }
  }

  [[nodiscard]] std::uint64_t block_pages() const { return block_pages_; }
  [[nodiscard]] PageRun block_of(PageId page) const {
    const auto first = page.index / block_pages_ * block_pages_;
    return {page.region, first, std::min(block_pages_, region_pages_[page.region] - first)};
  }

  void became_absent(PageId page) { word(page).fetch_add(1, std::memory_order_relaxed); }
  /// `filled`: the file has something in the block now. Returns whether this was the block's last
  /// absent page and there is something to map: content, or somebody who waits.
  bool became_valid(PageId page, bool filled) {
    auto& at = word(page);
    if (filled && (at.load(std::memory_order_relaxed) & kFilled) == 0) {
      at.fetch_or(kFilled, std::memory_order_relaxed);  // before the count: the last one sees it
    }
    // acq_rel: the last of the owners acquires what each of the others released.
    const auto left = at.fetch_sub(1, std::memory_order_acq_rel) - 1;
    return (left & kAbsent) == 0 && (left & (kFilled | kWaited)) != 0;
  }
  /// Somebody waits for the block. Returns whether all of it is valid, so that the caller maps it;
  /// otherwise whoever brings its last page does.
  bool wait_for(PageId page) {
    // acq_rel: pairs with became_valid(); whichever of the two is second sees the other.
    return (word(page).fetch_or(kWaited, std::memory_order_acq_rel) & kAbsent) == 0;
  }
  void mark_mapped(PageId page) { word(page).fetch_or(kMapped, std::memory_order_relaxed); }
  /// The next block, from the one of page `from` on, that is valid, has content and is not mapped;
  /// count 0 = none in this region.
  [[nodiscard]] PageRun next_unmapped(RegionIndex region, std::uint64_t from) const {
    for (auto first = from / block_pages_ * block_pages_; first < region_pages_[region];
         first += block_pages_) {
      // acquire: pairs with became_valid().
      const auto seen = words_[region][first / block_pages_].load(std::memory_order_acquire);
      if ((seen & (kAbsent | kFilled | kMapped)) == kFilled) {
        return block_of({region, first});
      }
    }
    return {region, region_pages_[region], 0};
  }

 private:
  static constexpr std::uint32_t kAbsent = 0xffffff;  ///< the count
  static constexpr std::uint32_t kFilled = 1U << 24U;
  static constexpr std::uint32_t kWaited = 1U << 25U;
  static constexpr std::uint32_t kMapped = 1U << 26U;

  std::atomic<std::uint32_t>& word(PageId page) {
    return words_[page.region][page.index / block_pages_];
  }

  const std::vector<std::uint64_t> region_pages_;
  const std::uint64_t block_pages_;
  std::vector<std::vector<std::atomic<std::uint32_t>>> words_;
};

}  // namespace godwit::engine
