#include "books/map_blocks.h"

#include <atomic>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "books/page_states.h"

namespace godwit::engine {
namespace {

constexpr std::uint64_t kBlock = 8;

TEST(MapBlocks, AHoleIsMappedForWhoWaitsAndNotSwept) {
  MapBlocks blocks({16}, kBlock);
  EXPECT_EQ(blocks.next_unmapped(0, 0).count, 0U);
  EXPECT_TRUE(blocks.wait_for({0, 11}));
  EXPECT_EQ(blocks.block_of({0, 11}), (PageRun{0, 8, 8}));
}

TEST(MapBlocks, TheLastPageMapsAndNoneBefore) {
  MapBlocks blocks({16}, kBlock);
  for (std::uint64_t page = 2; page < 5; ++page) {
    blocks.became_absent({0, page});
  }
  EXPECT_FALSE(blocks.wait_for({0, 7})) << "a valid page of a block that lacks others";
  EXPECT_FALSE(blocks.became_valid({0, 3}, true));
  EXPECT_FALSE(blocks.became_valid({0, 2}, false));
  EXPECT_EQ(blocks.next_unmapped(0, 0).count, 0U);
  EXPECT_TRUE(blocks.became_valid({0, 4}, false));
  EXPECT_EQ(blocks.next_unmapped(0, 0), (PageRun{0, 0, 8}));
  blocks.mark_mapped({0, 4});
  EXPECT_EQ(blocks.next_unmapped(0, 0).count, 0U);
}

TEST(MapBlocks, ABlockOfZeroPagesIsMappedOnlyForWhoWaits) {
  MapBlocks blocks({16}, kBlock);
  blocks.became_absent({0, 0});
  EXPECT_FALSE(blocks.became_valid({0, 0}, false));
  blocks.became_absent({0, 9});
  EXPECT_FALSE(blocks.wait_for({0, 9}));
  EXPECT_TRUE(blocks.became_valid({0, 9}, false));
}

// The wake-up that must not be missed: the last page comes while the fault is being noted.
TEST(MapBlocks, WhoWaitsAndWhoBringsTheLastPageNeverMissEachOther) {
  for (int round = 0; round < 2000; ++round) {
    MapBlocks blocks({kBlock}, kBlock);
    blocks.became_absent({0, 0});
    blocks.became_absent({0, 5});
    std::atomic<int> mapped{0};
    std::thread other([&] { mapped += blocks.became_valid({0, 0}, false) ? 1 : 0; });
    std::thread third([&] { mapped += blocks.became_valid({0, 5}, false) ? 1 : 0; });
    mapped += blocks.wait_for({0, 3}) ? 1 : 0;
    other.join();
    third.join();
    ASSERT_EQ(mapped, 1) << "round " << round;
  }
}

TEST(PageStatesInBlocks, CountOnlyWhatIsNewlyAbsentAndTellWhenTheBlockIsDue) {
  auto made = PageStates::create({16}, Placing::kBehind, kBlock);
  ASSERT_TRUE(made);
  auto& states = **made;
  ASSERT_TRUE(states.mark_absent({0, 1, 2}));
  ASSERT_TRUE(states.mark_absent({0, 1, 3})) << "announced again";
  for (std::uint64_t page = 1; page < 4; ++page) {
    ASSERT_TRUE(states.claim({0, page}, PageOwner::kBulk).claimed);
    EXPECT_EQ(states.publish({0, page}, PageOwner::kBulk, page == 1), page == 3);
  }
  EXPECT_EQ(states.blocks()->next_unmapped(0, 0), (PageRun{0, 0, 8}));
  ASSERT_TRUE(states.mark_absent({0, 2, 1})) << "old again, before the guest runs";
  EXPECT_EQ(states.blocks()->next_unmapped(0, 0).count, 0U);
}

}  // namespace
}  // namespace godwit::engine
