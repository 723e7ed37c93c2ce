#include "books/dirty_ledger.h"

#include <set>

#include <gtest/gtest.h>

#include "godwit/base/random.h"

namespace godwit::engine {
namespace {

void quiet(PageRun /*run*/) {}

TEST(DirtyLedger, AnnouncesAWholeRunOnce) {
  DirtyLedger ledger({1000});
  std::vector<PageRun> announced;
  const auto keep = [&](PageRun run) { announced.push_back(run); };
  ledger.add_pending({0, 10, 900}, keep);
  EXPECT_EQ(announced, (std::vector<PageRun>{{0, 10, 900}}));
  announced.clear();
  ledger.add_pending({0, 0, 1000}, keep);
  EXPECT_EQ(announced, (std::vector<PageRun>{{0, 0, 10}, {0, 910, 90}}));
  EXPECT_EQ(ledger.pending_pages(), 1000U);
  EXPECT_EQ(ledger.unique_pages(), 1000U);
}

TEST(DirtyLedger, HandsEachPageOutOnce) {
  DirtyLedger ledger({64});
  ledger.add_pending({0, 0, 4}, quiet);
  EXPECT_EQ(ledger.claim_in_flight(0, 0, 0b111), 0b111U);
  EXPECT_EQ(ledger.claim(0, 0, 0b1111), 0b1000U);
  EXPECT_TRUE(ledger.in_flight({0, 0}));
  EXPECT_FALSE(ledger.in_flight({0, 3}));
  EXPECT_EQ(ledger.pending_pages(), 0U);
  EXPECT_EQ(ledger.pending_hash(), 0U);
  EXPECT_EQ(ledger.unique_pages(), 4U);
}

TEST(DirtyLedger, WhatTheSinkWasToldIsPendingAfterTheNextAbsorption) {
  DirtyLedger ledger({64, 128});
  ledger.sink().mark(1, 1, 0b11);
  EXPECT_EQ(ledger.pending_pages(), 0U) << "the target has not been told yet";
  std::vector<PageRun> announced;
  const auto keep = [&](PageRun run) { announced.push_back(run); };
  EXPECT_EQ(ledger.absorb_dirty(keep), 2U);
  EXPECT_EQ(announced, (std::vector<PageRun>{{1, 64, 2}}));
  EXPECT_EQ(ledger.absorb_dirty(keep), 0U) << "a mark is taken once";
  EXPECT_EQ(announced.size(), 1U);
}

TEST(DirtyLedger, AMarkOfAPendingPageCountsAndAnnouncesNothing) {
  DirtyLedger ledger({64});
  ledger.add_pending({0, 0, 2}, quiet);
  ledger.sink().mark(0, 0, 0b110);
  std::vector<PageRun> announced;
  EXPECT_EQ(ledger.absorb_dirty([&](PageRun run) { announced.push_back(run); }), 2U);
  EXPECT_EQ(announced, (std::vector<PageRun>{{0, 2, 1}}));
  EXPECT_EQ(ledger.pending_pages(), 3U);
}

TEST(DirtyLedger, APageInFlightThatIsMarkedIsPendingAgainAndStillInFlight) {
  DirtyLedger ledger({64});
  ledger.add_pending({0, 3, 1}, quiet);
  ASSERT_EQ(ledger.claim_in_flight(0, 0, 0b1000), 0b1000U);
  ledger.sink().mark(0, 0, 0b1000);
  EXPECT_EQ(ledger.absorb_dirty(quiet), 1U);
  EXPECT_TRUE(ledger.in_flight({0, 3}));
  EXPECT_EQ(ledger.pending_hash(), page_set_hash({0, 3}));
  EXPECT_EQ(ledger.unique_pages(), 1U) << "a page that goes twice is one page";
  ledger.landed(0, 0, 0b1000);
  EXPECT_FALSE(ledger.in_flight({0, 3}));
  EXPECT_EQ(ledger.pending_pages(), 1U);
}

TEST(DirtyLedger, AClaimThatLosesIsNotInFlight) {
  DirtyLedger ledger({64});
  ledger.add_pending({0, 1, 1}, quiet);
  EXPECT_EQ(ledger.claim_in_flight(0, 0, 0b11), 0b10U);
  EXPECT_FALSE(ledger.in_flight({0, 0}));
  ledger.landed(0, 0, 0b10);
  EXPECT_FALSE(ledger.in_flight({0, 1}));
}

TEST(DirtyLedger, HeatRisesWithEveryAbsorption) {
  DirtyLedger ledger({64});
  ledger.sink().mark(0, 0, 0b11);
  ledger.absorb_dirty(quiet);
  ledger.sink().mark(0, 0, 0b01);
  ledger.absorb_dirty(quiet);
  EXPECT_GT(ledger.heat({0, 0}), ledger.heat({0, 1}));
  EXPECT_GT(ledger.heat({0, 1}), 0);
  EXPECT_EQ(ledger.heat({0, 2}), 0);
}

TEST(DirtyLedger, LosesOnlyTheMarkItIsToldToLose) {
  DirtyLedger ledger({64});
  ledger.sink().mark(0, 0, 0b111);
  const auto marked =
      ledger.absorb_dirty_losing(quiet, [](PageId page) { return page.index == 1; });
  EXPECT_EQ(marked, 2U);
  EXPECT_EQ(ledger.pending()[0].word(0), 0b101U);
}

TEST(DirtyLedger, AgreesWithASetInASeededLoop) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    SplitMix64 random(seed);
    const std::vector<std::uint64_t> sizes = {1 + random.below(300), 1 + random.below(300)};
    DirtyLedger ledger(sizes);
    std::set<PageId> pending;
    std::set<PageId> ever;
    for (int step = 0; step < 400; ++step) {
      const auto region = static_cast<RegionIndex>(random.below(2));
      const auto first = random.below(sizes[region]);
      const auto count = 1 + random.below(std::min<std::uint64_t>(80, sizes[region] - first));
      std::set<PageId> announced;
      const auto keep = [&](PageRun run) {
        for (auto index = run.first; index < run.end(); ++index) {
          ASSERT_TRUE(announced.insert({run.region, index}).second) << "announced twice";
        }
      };
      std::set<PageId> fresh;
      const auto add = [&](PageId page) {
        ever.insert(page);
        if (pending.insert(page).second) {
          fresh.insert(page);
        }
      };
      switch (random.below(3)) {
        case 0:
          ledger.add_pending({region, first, count}, keep);
          for (auto index = first; index < first + count; ++index) {
            add({region, index});
          }
          break;
        case 1:
          ledger.sink().mark(region, first / 64, 1ULL << (first % 64));
          ledger.absorb_dirty(keep);
          add({region, first});
          break;
        default: {
          const auto mask = random.next() & random.next();
          auto got = ledger.claim(region, first / 64, mask);
          for (unsigned bit = 0; bit < 64; ++bit) {
            const bool mine = ((got >> bit) & 1) != 0;
            const PageId page{region, first / 64 * 64 + bit};
            ASSERT_EQ(mine, ((mask >> bit) & 1) != 0 && pending.erase(page) != 0);
          }
        }
      }
      ASSERT_EQ(announced, fresh);
      std::uint64_t hash = 0;
      for (const auto page : pending) {
        hash ^= page_set_hash(page);
      }
      ASSERT_EQ(ledger.pending_pages(), pending.size());
      ASSERT_EQ(ledger.pending_hash(), hash);
      ASSERT_EQ(ledger.unique_pages(), ever.size());
    }
  }
}

TEST(DirtyLedger, WhatALostLinkHadIsGivenBackAndNothingElse) {
  DirtyLedger ledger({200, 64});
  ledger.add_pending({0, 0, 130}, [](PageRun) {});
  ledger.add_pending({1, 3, 2}, [](PageRun) {});
  ASSERT_EQ(ledger.claim_in_flight(0, 0, 0xF0), 0xF0U);  // handed to a socket, 4-5 have arrived
  ASSERT_EQ(ledger.claim(0, 1, 1), 1U);                  // asked for, lost on the way
  ASSERT_EQ(ledger.claim(1, 0, 8), 8U);                  // arrived
  std::vector<PageId> again;
  ledger.give_back({{0, 0, 4}, {0, 6, 124}, {1, 4, 1}},
                   [&](RegionIndex region, std::uint64_t word, std::uint64_t bits) {
                     for_each_run(word, bits, [&](std::uint64_t first, std::uint64_t count) {
                       for (auto page = first; page < first + count; ++page) {
                         again.push_back({region, page});
                       }
                     });
                   });
  EXPECT_EQ(again, (std::vector<PageId>{{0, 6}, {0, 7}, {0, 64}}));
  EXPECT_FALSE(ledger.in_flight({0, 6}));
  EXPECT_EQ(ledger.pending_pages(), 129U);
  std::uint64_t hash = page_set_hash({1, 4});
  for (std::uint64_t page = 0; page < 130; ++page) {
    hash ^= page == 4 || page == 5 ? 0 : page_set_hash({0, page});
  }
  EXPECT_EQ(ledger.pending_hash(), hash);
  EXPECT_EQ(ledger.unique_pages(), 132U) << "a page that is sent again is no other page";
  EXPECT_EQ(ledger.claim_in_flight(0, 0, 0xFF), 0xCFU) << "pages 4 and 5 have arrived";
}

// The source never sent page 9: a target that has it has another guest's.
TEST(DirtyLedger, APageThatWasNeverSentAndIsNotMissingIsSeen) {
  DirtyLedger ledger({64});
  ledger.add_pending({0, 8, 3}, [](PageRun) {});
  ledger.give_back({{0, 8, 1}, {0, 10, 1}}, [](RegionIndex, std::uint64_t, std::uint64_t) {});
  EXPECT_EQ(ledger.pending_pages(), 3U) << "not the 2 of the target";
}

}  // namespace
}  // namespace godwit::engine
