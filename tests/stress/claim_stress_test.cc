#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "godwit/base/random.h"

#include "books/page_scheduler.h"
#include "books/page_states.h"
#include "stress_size.h"

namespace godwit::engine {
namespace {

// After the switch the background stream and the urgent loop take pages from one ledger: each page
// goes exactly once, and when the background stream says that nothing is left, nothing is.
TEST(PageSchedulerStress, BackgroundAndUrgentTogetherSendEveryPageOnce) {
  const std::vector<std::uint64_t> kSizes = {1000, 37, 4096};
  for (std::uint64_t round = 0; round < stress_size(60); ++round) {
    DirtyLedger ledger(kSizes);
    PageScheduler scheduler(ledger);
    SplitMix64 random(round + 1);
    std::uint64_t total = 0;
    for (RegionIndex region = 0; region < kSizes.size(); ++region) {
      for (std::uint64_t page = 0; page < kSizes[region]; ++page) {
        if (random.below(3) != 0) {
          ledger.add_pending({region, page, 1}, [](PageRun) {});
          ++total;
        }
        if (random.below(8) == 0) {
          ledger.sink().mark(region, page / 64, 1ULL << (page % 64));
        }
      }
    }
    ledger.absorb_dirty([&](PageRun run) { total += run.count; });
    std::atomic<bool> stop{false};
    std::atomic<std::uint64_t> at{
        0};  // region and page of the last background batch: a hint of where to disturb
    std::atomic<std::uint64_t> urgent_pages{0};
    std::jthread urgent([&, seed = round + 99] {
      SplitMix64 chance(seed);
      while (!stop.load(std::memory_order_acquire)) {
        // A fault storm in the very words that the background stream is taking.
        const auto region = static_cast<RegionIndex>(at.load(std::memory_order_relaxed) >> 32);
        const auto page =
            std::min((at.load(std::memory_order_relaxed) & 0xFFFFFFFF) + chance.below(96),
                     kSizes[region] - 1);
        if (ledger.claim(region, page / 64, 1ULL << (page % 64)) != 0) {
          urgent_pages.fetch_add(1, std::memory_order_relaxed);
          scheduler.hint({region, page});
        }
      }
    });
    scheduler.prepare_background();
    std::uint64_t background_pages = 0;
    PageBatchPlan plan;
    while (scheduler.next_background(plan)) {
      background_pages += plan.count;
      at.store((std::uint64_t{plan.region} << 32) | plan.pages[plan.count - 1],
               std::memory_order_relaxed);
      for (std::uint32_t i = 0; i < plan.count; ++i) {
        ledger.landed(plan.region, plan.pages[i] / 64, 1ULL << (plan.pages[i] % 64));
      }
    }
    for (RegionIndex region = 0; region < kSizes.size(); ++region) {
      const auto& map = ledger.pending()[region];
      EXPECT_EQ(map.next_word(0), map.word_count())
          << "the background stream ended early, round " << round;
    }
    stop.store(true, std::memory_order_release);
    urgent.join();
    EXPECT_EQ(ledger.pending_pages(), 0U);
    EXPECT_EQ(background_pages + urgent_pages.load(std::memory_order_relaxed), total);
    EXPECT_EQ(ledger.pending_hash(), 0U);
  }
}

// Two owners receive the same pages; each page is written by one of them, and a reader that is told
// that the page is there reads what its writer wrote.
TEST(PageStatesStress, EveryPageHasOneWriterWhoseBytesAreSeen) {
  constexpr std::uint64_t kPages = 2048;
  for (std::uint64_t round = 0; round < stress_size(20); ++round) {
    auto made = PageStates::create({kPages});
    ASSERT_TRUE(made);
    auto& states = **made;
    ASSERT_TRUE(states.mark_absent({0, 0, kPages}));
    // Not atomic on purpose: the claim orders it, and TSan checks that.
    std::vector<std::uint64_t> content(kPages, 0);
    std::atomic<std::uint64_t> written{0};
    std::atomic<std::uint64_t> woken{0};
    std::vector<std::jthread> threads;
    for (const auto owner : {PageOwner::kUrgent, PageOwner::kBulk}) {
      threads.emplace_back([&, owner] {
        for (std::uint64_t i = 0; i < kPages; ++i) {
          const PageId page{0, owner == PageOwner::kUrgent ? kPages - 1 - i : i};
          if (!states.claim(page, owner).claimed) {
            continue;
          }
          if (i % 97 == 0) {
            states.abandon(page, owner);
            if (!states.claim(page, owner).claimed) {
              continue;
            }
          }
          content[page.index] += page.index + 1;
          written.fetch_add(1, std::memory_order_relaxed);
          woken.fetch_add(states.publish(page, owner, true) ? 1 : 0, std::memory_order_relaxed);
        }
      });
    }
    std::uint64_t requested = 0;
    for (std::uint64_t i = 0; i < kPages; ++i) {
      const PageId page{0, i * 769 % kPages};
      const auto decision = states.on_fault(page);
      requested += decision == FaultDecision::kRequest ? 1 : 0;
      if (decision == FaultDecision::kMap) {
        ASSERT_EQ(content[page.index], page.index + 1);
        states.mark_mapped(states.mappable_run(page));
      }
    }
    threads.clear();
    EXPECT_EQ(written.load(std::memory_order_relaxed), kPages);
    EXPECT_EQ(states.installed(), kPages);
    EXPECT_EQ(states.absent_pages(), 0U);
    EXPECT_EQ(states.absent_hash(), 0U);
    EXPECT_GE(woken.load(std::memory_order_relaxed), requested);
  }
}

}  // namespace
}  // namespace godwit::engine
