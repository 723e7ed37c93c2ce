#include "books/page_scheduler.h"

#include <set>

#include <gtest/gtest.h>

#include "godwit/base/random.h"
#include "godwit/wire/format.h"

namespace godwit::engine {
namespace {

void ignore_run(PageRun /*run*/) {}

TEST(RoundCursor, ARoundGivesEveryPendingPageOnceInAddressOrder) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    SplitMix64 random(seed);
    const std::vector<std::uint64_t> sizes = {
        1 + random.below(700), 1 + random.below(70), 1 + random.below(700)};
    DirtyLedger ledger(sizes);
    std::vector<PageId> expected;
    for (RegionIndex region = 0; region < sizes.size(); ++region) {
      for (std::uint64_t page = 0; page < sizes[region]; ++page) {
        if (random.below(4) != 0) {
          ledger.add_pending({region, page, 1}, ignore_run);
          expected.push_back({region, page});
        }
      }
    }
    RoundCursor cursor(ledger);
    std::vector<PageId> sent;
    PageBatchPlan plan;
    while (cursor.next(plan)) {
      ASSERT_GT(plan.count, 0U);
      ASSERT_LE(plan.count, wire::kMaxBatchPages);
      for (std::uint32_t i = 0; i < plan.count; ++i) {
        sent.push_back({plan.region, plan.pages[i]});
        ASSERT_TRUE(ledger.in_flight(sent.back()));
      }
    }
    EXPECT_EQ(sent, expected);
    EXPECT_EQ(ledger.pending_pages(), 0U);
  }
}

TEST(RoundCursor, ChannelsShareARoundByChunksSoThatAPageHasOneChannel) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    SplitMix64 random(seed);
    const auto channels = static_cast<std::uint32_t>(2 + random.below(5));
    const std::vector<std::uint64_t> sizes = {1 + random.below(9000), 1 + random.below(3000)};
    DirtyLedger ledger(sizes);
    std::uint64_t pending = 0;
    for (RegionIndex region = 0; region < sizes.size(); ++region) {
      for (std::uint64_t page = 0; page < sizes[region]; ++page) {
        if (random.below(4) != 0) {
          ledger.add_pending({region, page, 1}, ignore_run);
          ++pending;
        }
      }
    }
    std::uint64_t sent = 0;
    for (std::uint32_t channel = 0; channel < channels; ++channel) {
      RoundCursor cursor(ledger, channel, channels);
      PageBatchPlan plan;
      while (cursor.next(plan)) {
        for (std::uint32_t i = 0; i < plan.count; ++i) {
          ASSERT_EQ(wire::channel_of({plan.region, plan.pages[i]}, channels), channel);
        }
        sent += plan.count;
      }
    }
    EXPECT_EQ(sent, pending);
    EXPECT_EQ(ledger.pending_pages(), 0U);
  }
}

TEST(PageScheduler, BackgroundSendsHotPagesBeforeTheRest) {
  DirtyLedger ledger({1024});
  ledger.add_pending({0, 0, 1024}, ignore_run);
  ledger.sink().mark(0, 10, 0b1);
  ledger.absorb_dirty(ignore_run);
  ledger.sink().mark(0, 10, 0b1);
  ledger.sink().mark(0, 3, 0b10);
  ledger.absorb_dirty(ignore_run);
  PageScheduler scheduler(ledger);
  scheduler.prepare_background();
  PageBatchPlan plan;
  ASSERT_TRUE(scheduler.next_background(plan));
  ASSERT_EQ(plan.count, 2U);
  EXPECT_EQ(plan.pages[0], 3U * 64 + 1);
  EXPECT_EQ(plan.pages[1], 640U);
  ASSERT_TRUE(scheduler.next_background(plan));
  EXPECT_EQ(plan.pages[0], 0U);
}

TEST(PageScheduler, NeighboursOfAFaultGoFirst) {
  DirtyLedger ledger({1024});
  ledger.add_pending({0, 0, 1024}, ignore_run);
  PageScheduler scheduler(ledger);
  scheduler.prepare_background();
  scheduler.hint({0, 600});
  PageBatchPlan plan;
  ASSERT_TRUE(scheduler.next_background(plan));
  EXPECT_EQ(plan.pages[0], 576U);
  EXPECT_EQ(plan.count, 64U);
  EXPECT_EQ(plan.prefetched, 64U);
}

TEST(PageScheduler, BackgroundEndsWithNothingPendingWhateverTheHints) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    SplitMix64 random(seed);
    const std::vector<std::uint64_t> sizes = {500, 1, 300};
    DirtyLedger ledger(sizes);
    std::set<PageId> left;
    for (RegionIndex region = 0; region < sizes.size(); ++region) {
      for (std::uint64_t page = 0; page < sizes[region]; ++page) {
        ledger.add_pending({region, page, 1}, ignore_run);
        left.insert({region, page});
        if (random.below(5) == 0) {
          ledger.sink().mark(region, page / 64, 1ULL << (page % 64));
        }
      }
    }
    ledger.absorb_dirty(ignore_run);
    PageScheduler scheduler(ledger);
    scheduler.prepare_background();
    PageBatchPlan plan;
    do {
      const auto region = static_cast<RegionIndex>(random.below(3));
      const PageId wanted{region, random.below(sizes[region])};
      if (ledger.claim(region, wanted.index / 64, 1ULL << (wanted.index % 64)) != 0) {
        ASSERT_EQ(left.erase(wanted), 1U);
      }
      scheduler.hint(wanted);
      if (!scheduler.next_background(plan)) {
        break;
      }
      for (std::uint32_t i = 0; i < plan.count; ++i) {
        ASSERT_EQ(left.erase({plan.region, plan.pages[i]}), 1U) << "sent twice";
      }
    } while (true);
    EXPECT_TRUE(left.empty());
  }
}

}  // namespace
}  // namespace godwit::engine
