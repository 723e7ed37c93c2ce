#include "books/page_states.h"

#include <gtest/gtest.h>

#include "godwit/base/random.h"

#include "books/dirty_ledger.h"

namespace godwit::engine {
namespace {

std::unique_ptr<PageStates> make(std::vector<std::uint64_t> sizes) {
  auto states = PageStates::create(sizes);
  EXPECT_TRUE(states);
  return std::move(*states);
}

TEST(PageStates, APageThatWasNeverAnnouncedIsAHole) {
  const auto states = make({128});
  EXPECT_EQ(states->absent_pages(), 0U);
  EXPECT_EQ(states->on_fault({0, 5}), FaultDecision::kMap);
  EXPECT_EQ(states->mappable_run({0, 5}), (PageRun{0, 5, 1})) << "a hole has no backed neighbours";
  EXPECT_FALSE(states->claim({0, 5}, PageOwner::kBulk).claimed);
}

TEST(PageStates, RefusesAnnouncementsOutsideTheMemory) {
  const auto states = make({128, 64});
  EXPECT_EQ(states->mark_absent({2, 0, 1}).error().code, ErrorCode::kProtocol);
  EXPECT_EQ(states->mark_absent({1, 0, 65}).error().code, ErrorCode::kProtocol);
  EXPECT_EQ(states->mark_absent({0, 128, 1}).error().code, ErrorCode::kProtocol);
  EXPECT_EQ(states->mark_absent({0, 1, UINT64_MAX}).error().code, ErrorCode::kProtocol);
  EXPECT_EQ(states->mark_absent({0, 0, 0}).error().code, ErrorCode::kProtocol);
  EXPECT_EQ(states->absent_pages(), 0U);
}

TEST(PageStates, OnlyOneOwnerClaimsAndOnlyThenPublishes) {
  const auto states = make({64});
  ASSERT_TRUE(states->mark_absent({0, 0, 2}));
  EXPECT_EQ(states->absent_hash(), page_set_hash({0, 0}) ^ page_set_hash({0, 1}));
  EXPECT_TRUE(states->claim({0, 0}, PageOwner::kBulk).claimed);
  EXPECT_FALSE(states->claim({0, 0}, PageOwner::kUrgent).claimed);
  EXPECT_EQ(states->absent_pages(), 2U) << "a claimed page cannot be read yet";
  EXPECT_EQ(states->mark_absent({0, 0, 1}).error().code, ErrorCode::kProtocol);
  EXPECT_FALSE(states->publish({0, 0}, PageOwner::kBulk, true));
  EXPECT_EQ(states->absent_pages(), 1U);
  EXPECT_EQ(states->absent_hash(), page_set_hash({0, 1}));
  EXPECT_EQ(states->installed(), 1U);
}

TEST(PageStates, AllAbsentMeansThatNobodyHasOrWritesThem) {
  const auto states = make({64});
  ASSERT_TRUE(states->mark_absent({0, 8, 8}));
  EXPECT_TRUE(states->all_absent({0, 8, 8}));
  EXPECT_FALSE(states->all_absent({0, 7, 2}));
  EXPECT_FALSE(states->all_absent({0, 15, 2}));
  ASSERT_TRUE(states->claim({0, 9}, PageOwner::kBulk).claimed);
  EXPECT_FALSE(states->all_absent({0, 8, 8})) << "one is being written";
}

TEST(PageStates, AnAbandonedPageIsAbsentAgain) {
  const auto states = make({64});
  ASSERT_TRUE(states->mark_absent({0, 0, 1}));
  ASSERT_TRUE(states->claim({0, 0}, PageOwner::kBulk).claimed);
  states->abandon({0, 0}, PageOwner::kBulk);
  EXPECT_TRUE(states->claim({0, 0}, PageOwner::kUrgent).claimed);
  EXPECT_EQ(states->absent_pages(), 1U);
}

TEST(PageStates, AFaultIsRequestedOnceAndItsOwnerLearnsOfIt) {
  const auto states = make({64});
  ASSERT_TRUE(states->mark_absent({0, 0, 2}));
  EXPECT_EQ(states->on_fault({0, 0}), FaultDecision::kRequest);
  EXPECT_EQ(states->on_fault({0, 0}), FaultDecision::kWait);
  ASSERT_TRUE(states->claim({0, 0}, PageOwner::kUrgent).claimed);
  EXPECT_EQ(states->on_fault({0, 0}), FaultDecision::kWait);
  EXPECT_TRUE(states->publish({0, 0}, PageOwner::kUrgent, true));
  EXPECT_EQ(states->on_fault({0, 0}), FaultDecision::kMap);
  ASSERT_TRUE(states->claim({0, 1}, PageOwner::kBulk).claimed);
  EXPECT_EQ(states->on_fault({0, 1}), FaultDecision::kWait) << "its bytes are coming already";
  EXPECT_TRUE(states->publish({0, 1}, PageOwner::kBulk, true));
}

TEST(PageStates, RemembersThatTheFileHoldsOldBytes) {
  const auto states = make({64});
  ASSERT_TRUE(states->mark_absent({0, 0, 1}));
  EXPECT_FALSE(states->claim({0, 0}, PageOwner::kBulk).backed);
  states->publish({0, 0}, PageOwner::kBulk, true);
  ASSERT_TRUE(states->mark_absent({0, 0, 1}));
  EXPECT_TRUE(states->claim({0, 0}, PageOwner::kBulk).backed)
      << "zero must be written here, not assumed";
}

TEST(PageStates, MapsWholeRunsOfValidPagesInsideTheWindow) {
  const auto states = make({200});
  ASSERT_TRUE(states->mark_absent({0, 60, 80}));
  for (std::uint64_t page = 60; page < 140; ++page) {
    if (page != 100) {
      ASSERT_TRUE(states->claim({0, page}, PageOwner::kBulk).claimed);
      states->publish({0, page}, PageOwner::kBulk, true);
    }
  }
  EXPECT_EQ(states->mappable_run({0, 80}), (PageRun{0, 64, 36}));
  EXPECT_EQ(states->mappable_run({0, 101}), (PageRun{0, 101, 27}));
  EXPECT_EQ(states->next_unmapped(0, 0, 1000), (PageRun{0, 60, 40}));
  states->mark_mapped({0, 60, 40});
  EXPECT_EQ(states->next_unmapped(0, 0, 10), (PageRun{0, 101, 10}));
  EXPECT_EQ(states->mark_absent({0, 60, 1}).error().code, ErrorCode::kProtocol)
      << "a mapped page cannot become old";
  states->mark_mapped({0, 101, 39});
  EXPECT_EQ(states->next_unmapped(0, 0, 10).count, 0U);
}

TEST(PageStates, FindsTheFewPagesOfALargeRegion) {
  const std::uint64_t pages = 1ULL << 22;
  const auto states = make({pages + 3, 700});
  const std::vector<std::uint64_t> backed{511, 512, 1ULL << 20, pages + 2};
  for (const auto page : backed) {
    ASSERT_TRUE(states->mark_absent({0, page, 1}));
    ASSERT_TRUE(states->claim({0, page}, PageOwner::kBulk).claimed);
    states->publish({0, page}, PageOwner::kBulk, true);
  }
  EXPECT_EQ(states->next_unmapped(0, 0, 512), (PageRun{0, 511, 2}));
  EXPECT_EQ(states->next_unmapped(0, 513, 512), (PageRun{0, 1ULL << 20, 1}));
  EXPECT_EQ(states->next_unmapped(0, (1ULL << 20) + 1, 512), (PageRun{0, pages + 2, 1}));
  EXPECT_EQ(states->next_unmapped(0, pages + 3, 512).count, 0U);
  EXPECT_EQ(states->next_unmapped(1, 0, 512).count, 0U);
}

TEST(PageStates, WherePlacingMapsAPageWithContentIsMappedAndMayBecomeOld) {
  auto made = PageStates::create({64}, Placing::kMaps);
  ASSERT_TRUE(made);
  const auto& states = *made;
  ASSERT_EQ(states->mark_absent({0, 0, 4}).value(), 0U) << "nothing was placed yet";
  for (const std::uint64_t page : {0U, 1U}) {
    ASSERT_TRUE(states->claim({0, page}, PageOwner::kBulk).claimed);
    states->publish({0, page}, PageOwner::kBulk, page == 0);  // page 1 came as a zero page
  }
  EXPECT_EQ(states->next_unmapped(0, 0, 64).count, 0U) << "nothing is left to sweep";
  EXPECT_EQ(states->on_fault({0, 1}), FaultDecision::kMap) << "a hole";
  EXPECT_EQ(states->mappable_run({0, 1}), (PageRun{0, 1, 1}));
  EXPECT_EQ(states->mark_absent({0, 0, 4}).value(), 1U) << "one page is in the page table";
  EXPECT_EQ(states->absent_pages(), 4U);
  EXPECT_FALSE(states->claim({0, 0}, PageOwner::kUrgent).backed)
      << "retracting has forgotten its bytes";
}

// The reference: one plain record a page.
struct Model {
  enum State { kPresent, kAbsent, kClaimed, kMapped } state = kPresent;
  PageOwner owner = PageOwner::kNone;
  bool backed = false;
  bool requested = false;
};

TEST(PageStates, AgreesWithAPlainModelInASeededLoop) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    SplitMix64 random(seed);
    constexpr std::uint64_t kPages = 40;
    const auto states = make({kPages});
    std::vector<Model> model(kPages);
    for (int step = 0; step < 3000; ++step) {
      const PageId page{0, random.below(kPages)};
      auto& m = model[page.index];
      const auto owner = random.below(2) == 0 ? PageOwner::kUrgent : PageOwner::kBulk;
      switch (random.below(6)) {
        case 0: {
          const bool legal = m.state == Model::kPresent || m.state == Model::kAbsent;
          ASSERT_EQ(states->mark_absent({0, page.index, 1}).has_value(), legal);
          m.state = legal ? Model::kAbsent : m.state;
          break;
        }
        case 1: {
          const auto result = states->claim(page, owner);
          ASSERT_EQ(result.claimed, m.state == Model::kAbsent);
          if (result.claimed) {
            ASSERT_EQ(result.backed, m.backed);
            m.state = Model::kClaimed;
            m.owner = owner;
          }
          break;
        }
        case 2:
          if (m.state == Model::kClaimed) {
            const bool backed = random.below(2) == 0;
            ASSERT_EQ(states->publish(page, m.owner, backed), m.requested);
            m = {Model::kPresent, PageOwner::kNone, m.backed || backed, false};
          }
          break;
        case 3:
          if (m.state == Model::kClaimed) {
            states->abandon(page, m.owner);
            m.state = Model::kAbsent;
          }
          break;
        case 4: {
          const bool waits = m.state == Model::kAbsent || m.state == Model::kClaimed;
          const auto expected = !waits ? FaultDecision::kMap
                                : m.state == Model::kAbsent && !m.requested
                                    ? FaultDecision::kRequest
                                    : FaultDecision::kWait;
          ASSERT_EQ(states->on_fault(page), expected);
          m.requested = m.requested || waits;
          break;
        }
        default:
          if (random.below(20) == 0) {
            states->mark_mapped({0, page.index, 1});
            m.state = m.state == Model::kPresent ? Model::kMapped : m.state;
          }
      }
      std::uint64_t hash = 0;
      std::uint64_t absent = 0;
      for (std::uint64_t i = 0; i < kPages; ++i) {
        const bool missing = model[i].state == Model::kAbsent || model[i].state == Model::kClaimed;
        hash ^= missing ? page_set_hash({0, i}) : 0;
        absent += missing ? 1 : 0;
      }
      ASSERT_EQ(states->absent_hash(), hash);
      ASSERT_EQ(states->absent_pages(), absent);
    }
  }
}

TEST(PageStatesDeathTest, PublishingWithoutAClaimEndsTheProcess) {
  const auto states = make({64});
  ASSERT_TRUE(states->mark_absent({0, 0, 1}));
  EXPECT_DEATH(states->publish({0, 0}, PageOwner::kBulk, true), "");
}

TEST(PageStates, TellsWhichPagesAreAbsentAndWhichOfThemAreWaitedFor) {
  const auto states = make({1500, 70});
  ASSERT_TRUE(states->mark_absent({0, 500, 30}));  // over the border of two chunks
  ASSERT_TRUE(states->mark_absent({0, 1499, 1}));
  ASSERT_TRUE(states->mark_absent({1, 0, 70}));
  ASSERT_TRUE(states->claim({0, 510}, PageOwner::kBulk).claimed);
  states->publish({0, 510}, PageOwner::kBulk, true);
  EXPECT_EQ(states->on_fault({0, 520}), FaultDecision::kRequest);
  EXPECT_EQ(states->on_fault({1, 69}), FaultDecision::kRequest);
  EXPECT_EQ(states->on_fault({1, 3}), FaultDecision::kRequest);
  ASSERT_TRUE(states->claim({1, 3}, PageOwner::kUrgent).claimed);
  states->publish({1, 3}, PageOwner::kUrgent, true);
  std::vector<PageRun> runs;
  std::vector<PageId> asked;
  states->for_each_absent([&](PageRun run) { runs.push_back(run); },
                          [&](PageId page) { asked.push_back(page); });
  EXPECT_EQ(
      runs,
      (std::vector<PageRun>{{0, 500, 10}, {0, 511, 19}, {0, 1499, 1}, {1, 0, 3}, {1, 4, 66}}));
  EXPECT_EQ(asked, (std::vector<PageId>{{0, 520}, {1, 69}}));
  states->for_each_absent(nullptr, nullptr);
}

}  // namespace
}  // namespace godwit::engine
