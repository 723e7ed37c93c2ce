#pragma once

#include <atomic>
#include <bit>
#include <cstdint>
#include <memory>
#include <vector>

#include "godwit/base/check.h"
#include "godwit/base/units.h"
#include "godwit/base/zeroed_array.h"

namespace godwit::engine {

/// Interleaving points of AtomicBitmap that the simulator hooks; nothing in production.
struct NoBitmapHooks {
  static constexpr bool kUpperOnlyWhenLowerWasZero = false;
  static void between_leaf_and_summary() {}
  static void between_summary_and_top() {}
};

// A bitmap of pages with two levels above it: bit w of the summary says that leaf word w may hold a
// set bit, and bit s of the top that summary word s may.
//
// The problem: a sync must find the few dirty words of a terabyte guest without reading 32 MiB of
// bitmap, while producers go on marking and nobody takes a lock. A producer sets the leaf first and
// then the summary bit; a consumer takes the summary first and then the leaf. So when a mark has
// completed, either the consumer finds the summary bit, or it has taken the leaf with the mark in
// it.
//
// The top is for guests whose address space is far larger than what they use: of 16 TiB the summary
// alone has a million words, and to read them takes a millisecond of every sync. A mark goes up:
// leaf, summary, top; a consumer comes down: top, summary, leaf. What holds for two levels holds for
// each pair of neighbours.
//
// The producer sets the upper bits unconditionally. To skip one when the word below was not zero
// before looks like a cheap win and is wrong: the producer that found it zero may not have set the
// upper bit yet, and a consumer that comes in between misses a mark that had completed. The
// simulator plants exactly that and finds it.

/// Lock-free bitmap of one region's pages, with two summary levels.
/// Shape: bit i of word w = page 64 w + i of the region.
/// Thread: any number of producers (set) and claimers; harvest by one consumer at a time.
/// Cost: one bit a page plus 1/63, of the parts that were ever written; a harvest costs O(dirty
/// words), and a word for each 262,144 pages.
template <typename Hooks = NoBitmapHooks>
class BasicAtomicBitmap {
 public:
  explicit BasicAtomicBitmap(std::uint64_t bits)
      : words_((bits + 63) / 64),
        leaf_(words_),
        summary_((words_ + 63) / 64),
        top_((summary_.size() + 63) / 64) {}

  [[nodiscard]] std::uint64_t word_count() const { return words_; }

  /// Sets the bits of `mask` in word `word`; returns the word as it was before.
  std::uint64_t set(std::uint64_t word, std::uint64_t mask) {
    GODWIT_CHECK(word < words_);
    // release: what the producer wrote before is visible to the claimer or harvester that acquires
    // the leaf.
    const auto before = leaf(word).fetch_or(mask, std::memory_order_acq_rel);
    Hooks::between_leaf_and_summary();
    if (!Hooks::kUpperOnlyWhenLowerWasZero || before == 0) {
      const auto s = word / 64;
      // release, both: pairs with the acquire exchanges in harvest(): who sees the upper bit sees the
      // lower one.
      const auto flagged = summary(s).fetch_or(1ULL << (word % 64), std::memory_order_acq_rel);
      Hooks::between_summary_and_top();
      if (!Hooks::kUpperOnlyWhenLowerWasZero || flagged == 0) {
        top(s / 64).fetch_or(1ULL << (s % 64), std::memory_order_release);
      }
    }
    return before;
  }

  /// Clears the bits of `mask`; returns those that were set and are now the caller's.
  std::uint64_t claim(std::uint64_t word, std::uint64_t mask) {
    GODWIT_CHECK(word < words_);
    // acq_rel: pairs with set(); a bit is handed to exactly one claimer.
    return leaf(word).fetch_and(~mask, std::memory_order_acq_rel) & mask;
  }

  /// The word as it is; pairs with set().
  [[nodiscard]] std::uint64_t word(std::uint64_t index) const {
    return leaf(index).load(std::memory_order_acquire);
  }
  [[nodiscard]] bool test(std::uint64_t bit) const {
    return ((word(bit / 64) >> (bit % 64)) & 1) != 0;
  }

  /// Takes all set bits: calls `found(word, bits)` for each non-zero word in address order.
  template <typename Found>
  void harvest(Found&& found) {
    for (std::uint64_t t = 0; t < top_.size(); ++t) {
      // acquire: pairs with the release in set(). The plain load first keeps clean cache lines
      // shared.
      if (top(t).load(std::memory_order_relaxed) == 0) {
        continue;
      }
      auto used = top(t).exchange(0, std::memory_order_acq_rel);
      for (; used != 0; used &= used - 1) {
        harvest_summary(t * 64 + static_cast<unsigned>(std::countr_zero(used)), found);
      }
    }
  }

  /// The first word at or after `from` that holds a set bit, or word_count(). Leaves everything as
  /// it is.
  [[nodiscard]] std::uint64_t next_word(std::uint64_t from) const {
    while (from < words_) {
      const auto s = from / 64;
      auto flagged = summary(s).load(std::memory_order_acquire) & (~0ULL << (from % 64));
      while (flagged != 0) {
        const auto index = s * 64 + static_cast<unsigned>(std::countr_zero(flagged));
        if (word(index) != 0) {
          return index;
        }
        flagged &= flagged - 1;
      }
      from = next_summary(s + 1) * 64;
    }
    return words_;
  }

 private:
  using Word = std::atomic_ref<std::uint64_t>;
  [[nodiscard]] Word leaf(std::uint64_t word) const { return Word(leaf_.data()[word]); }
  [[nodiscard]] Word summary(std::uint64_t word) const { return Word(summary_.data()[word]); }
  [[nodiscard]] Word top(std::uint64_t word) const { return Word(top_.data()[word]); }

  template <typename Found>
  void harvest_summary(std::uint64_t s, Found& found) {
    // acquire: pairs with the release in set().
    auto flagged = summary(s).exchange(0, std::memory_order_acq_rel);
    while (flagged != 0) {
      const auto index = s * 64 + static_cast<unsigned>(std::countr_zero(flagged));
      flagged &= flagged - 1;
      const auto bits = leaf(index).exchange(0, std::memory_order_acq_rel);
      if (bits != 0) {
        found(index, bits);
      }
    }
  }

  /// The first summary word at or after `from` that the top flags, or one behind all of them.
  [[nodiscard]] std::uint64_t next_summary(std::uint64_t from) const {
    for (auto t = from / 64; t < top_.size(); ++t, from = t * 64) {
      const auto used = top(t).load(std::memory_order_acquire) & (~0ULL << (from % 64));
      if (used != 0) {
        return t * 64 + static_cast<unsigned>(std::countr_zero(used));
      }
    }
    return summary_.size();
  }

  std::uint64_t words_;
  ZeroedArray<std::uint64_t> leaf_;
  ZeroedArray<std::uint64_t> summary_;
  ZeroedArray<std::uint64_t> top_;
};

using AtomicBitmap = BasicAtomicBitmap<>;

/// One bitmap a region, never one over the holes of the address space.
class RegionBitmaps {
 public:
  explicit RegionBitmaps(const std::vector<std::uint64_t>& region_pages) {
    for (const auto pages : region_pages) {
      maps_.push_back(std::make_unique<AtomicBitmap>(pages));
    }
  }
  [[nodiscard]] std::size_t size() const { return maps_.size(); }
  AtomicBitmap& operator[](std::size_t region) { return *maps_[region]; }
  const AtomicBitmap& operator[](std::size_t region) const { return *maps_[region]; }

 private:
  std::vector<std::unique_ptr<AtomicBitmap>> maps_;
};

/// Calls `found(first, count)` for every run of set bits of word `word`.
template <typename Found>
void for_each_run(std::uint64_t word, std::uint64_t bits, Found&& found) {
  while (bits != 0) {
    const auto first = static_cast<unsigned>(std::countr_zero(bits));
    const auto count = static_cast<unsigned>(std::countr_one(bits >> first));
    found(word * 64 + first, std::uint64_t{count});
    if (first + count >= 64) {
      return;
    }
    bits &= ~0ULL << (first + count);
  }
}

/// The mask of bits first .. first+count-1; count 1..64.
constexpr std::uint64_t bit_mask(unsigned first, unsigned count) {
  return (count >= 64 ? ~0ULL : ((1ULL << count) - 1)) << first;
}

}  // namespace godwit::engine
