#include <atomic>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "godwit/base/random.h"
#include "godwit/engine/atomic_bitmap.h"

#include "books/dirty_ledger.h"
#include "stress_size.h"

namespace godwit::engine {
namespace {

constexpr std::uint64_t kPages = 64 * 130;  // three summary words

// A producer writes a page's counter and then marks the page; the consumer harvests and then reads
// the counter. In the end the consumer must have read the last value of every counter: a lost mark
// or a missing ordering shows as an old one.
TEST(AtomicBitmapStress, HarvesterSeesTheLastWriteOfEveryPage) {
  AtomicBitmap map(kPages);
  std::vector<std::atomic<std::uint32_t>> counters(kPages);
  std::vector<std::uint32_t> seen(kPages, 0);
  constexpr unsigned kProducers = 3;
  std::atomic<unsigned> running{kProducers};
  const auto rounds = stress_size(40'000);
  std::vector<std::jthread> producers;
  for (unsigned p = 0; p < kProducers; ++p) {
    producers.emplace_back([&, p] {
      SplitMix64 random(p + 1);
      for (std::uint64_t i = 0; i < rounds; ++i) {
        const auto page = random.below(kPages);
        counters[page].fetch_add(1, std::memory_order_relaxed);
        map.set(page / 64, 1ULL << (page % 64));
      }
      // Pairs with the acquire of the consumer's last look.
      running.fetch_sub(1, std::memory_order_release);
    });
  }
  const auto harvest = [&] {
    map.harvest([&](std::uint64_t word, std::uint64_t bits) {
      for (; bits != 0; bits &= bits - 1) {
        const auto page = word * 64 + static_cast<unsigned>(std::countr_zero(bits));
        seen[page] = counters[page].load(std::memory_order_relaxed);
      }
    });
  };
  while (running.load(std::memory_order_acquire) != 0) {
    harvest();
  }
  harvest();
  for (std::uint64_t page = 0; page < kPages; ++page) {
    ASSERT_EQ(seen[page], counters[page].load(std::memory_order_relaxed)) << "page " << page;
  }
}

TEST(AtomicBitmapStress, EveryBitHasOneClaimer) {
  AtomicBitmap map(kPages);
  constexpr unsigned kClaimers = 3;
  for (std::uint64_t round = 0; round < stress_size(20); ++round) {
    for (std::uint64_t word = 0; word < map.word_count(); ++word) {
      map.set(word, ~0ULL);
    }
    std::atomic<std::uint64_t> claimed{0};
    std::vector<std::jthread> claimers;
    for (unsigned c = 0; c < kClaimers; ++c) {
      claimers.emplace_back([&, c] {
        SplitMix64 random(round * kClaimers + c);
        std::uint64_t mine = 0;
        for (std::uint64_t word = 0; word < map.word_count(); ++word) {
          mine += static_cast<unsigned>(std::popcount(map.claim(word, random.next())));
          mine += static_cast<unsigned>(std::popcount(map.claim(word, ~0ULL)));
        }
        claimed.fetch_add(mine, std::memory_order_relaxed);
      });
    }
    claimers.clear();
    ASSERT_EQ(claimed.load(std::memory_order_relaxed), map.word_count() * 64);
  }
}

// Producers mark while the migration thread absorbs: every mark makes its page pending, and every
// page is announced before it can be claimed.
TEST(DirtyLedgerStress, EveryMarkBecomesPendingAndIsAnnounced) {
  DirtyLedger ledger({kPages});
  constexpr unsigned kProducers = 2;
  std::vector<std::vector<bool>> marked(kProducers, std::vector<bool>(kPages));
  std::atomic<unsigned> running{kProducers};
  std::vector<std::jthread> producers;
  for (unsigned p = 0; p < kProducers; ++p) {
    producers.emplace_back([&, p] {
      SplitMix64 random(p + 7);
      for (std::uint64_t i = 0; i < stress_size(20'000); ++i) {
        const auto page = random.below(kPages);
        marked[p][page] = true;
        ledger.sink().mark(0, page / 64, 1ULL << (page % 64));
      }
      // Pairs with the acquire of the last absorption.
      running.fetch_sub(1, std::memory_order_release);
    });
  }
  std::vector<bool> announced(kPages);
  const auto absorb = [&] {
    ledger.absorb_dirty([&](PageRun run) {
      std::fill_n(announced.begin() + static_cast<std::ptrdiff_t>(run.first), run.count, true);
    });
  };
  while (running.load(std::memory_order_acquire) != 0) {
    absorb();
  }
  absorb();
  producers.clear();
  std::uint64_t pages = 0;
  for (std::uint64_t page = 0; page < kPages; ++page) {
    const bool dirty = marked[0][page] || marked[1][page];
    ASSERT_EQ(announced[page], dirty) << "page " << page;
    ASSERT_EQ(ledger.pending()[0].test(page), dirty) << "page " << page;
    pages += dirty ? 1 : 0;
  }
  EXPECT_EQ(ledger.pending_pages(), pages);
}

}  // namespace
}  // namespace godwit::engine
