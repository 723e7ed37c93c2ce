#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "godwit/uffd/populated_scan.h"
#include "godwit/uffd/target_parts.h"

#include "placing/placers.h"
#include "unit/uffd/uffd_support.h"

namespace godwit::uffd {
namespace {

class AnonymousTargetTest : public testing::Test {
 protected:
  void SetUp() override { GODWIT_NEEDS_UFFD(Features{}); }

  void make(const std::vector<std::uint64_t>& region_pages, bool armed = true) {
    target_ = {};
    memory_ = std::make_unique<TestMemory>(region_pages, TestBacking::kAnonymous);
    auto target = make_target_parts(memory_->get(), {.process_guest = true});
    ASSERT_TRUE(target) << target.error().message();
    target_ = std::move(*target);
    if (armed) {
      const auto status = target_.faults->arm();
      ASSERT_TRUE(status) << status.error().message();
    }
  }
  engine::PageFault next_fault() {
    EXPECT_TRUE(wait_readable(target_.faults->fd()));
    std::array<engine::PageFault, 1> faults;
    const auto count = target_.faults->read(faults);
    EXPECT_TRUE(count && *count == 1);
    return faults[0];
  }
  void place(PageId page, std::uint64_t seed) {
    const auto placed =
        target_.placer->place({page.region, page.index, 1}, page_pattern(seed).data());
    ASSERT_TRUE(placed) << placed.error().message();
  }
  /// Whether the page is in the page table, asked without touching it.
  bool present(PageId page) {
    bool found = false;
    EXPECT_TRUE(make_anonymous_scan(memory(), AnonymousScanWay::kPagemap)->scan([&](PageRun run) {
      found =
          found || (run.region == page.region && page.index >= run.first && page.index < run.end());
    }));
    return found;
  }
  const engine::GuestMemory& memory() { return memory_->get(); }

  std::unique_ptr<TestMemory> memory_;
  TargetParts target_;
};

TEST_F(AnonymousTargetTest, PlacingMapsThePage) {
  make({16, 8});
  EXPECT_EQ(target_.placer->placing(), engine::Placing::kMaps);
  EXPECT_STREQ(target_.placer->name(), "uffd-copy");
  const auto bytes = page_pattern(1, 3);
  ASSERT_TRUE(target_.placer->place({1, 2, 3}, bytes.data()));
  EXPECT_EQ(std::memcmp(memory().page({1, 2}), bytes.data(), bytes.size()), 0);
  EXPECT_FALSE(present({1, 1}));
  EXPECT_FALSE(present({1, 5}));
}

TEST_F(AnonymousTargetTest, ToucherWaitsUntilItsPageIsPlaced) {
  make({8, 8});
  Toucher toucher(memory(), {1, 3});
  const auto fault = next_fault();
  EXPECT_EQ(fault.page, (PageId{1, 3}));
  EXPECT_FALSE(fault.minor);
  place({1, 3}, 7);
  EXPECT_EQ(toucher.join(), first_word(page_pattern(7)));
}

TEST_F(AnonymousTargetTest, HoleBecomesAZeroPageAndMappedPagesKeepTheirContent) {
  make({32});
  place({0, 7}, 5);
  Toucher toucher(memory(), {0, 1});
  next_fault();
  const auto mapped = target_.faults->map({0, 0, 32});
  ASSERT_TRUE(mapped) << mapped.error().message();
  EXPECT_EQ(mapped->mapped, 31U);
  EXPECT_EQ(mapped->already, 1U);
  EXPECT_EQ(toucher.join(), 0U);
  EXPECT_EQ(load_word(memory(), {0, 7}), first_word(page_pattern(5)));
}

TEST_F(AnonymousTargetTest, PlacingAgainKeepsWhatIsThereAndFillsTheRest) {
  make({8});
  place({0, 3}, 1);
  const auto newer = page_pattern(2, 8);
  ASSERT_TRUE(target_.placer->place({0, 0, 8}, newer.data()));
  for (std::uint64_t page = 0; page < 8; ++page) {
    std::uint64_t expected = 0;
    std::memcpy(&expected, newer.data() + (page << kPageShift), sizeof expected);
    EXPECT_EQ(load_word(memory(), {0, page}), page == 3 ? first_word(page_pattern(1)) : expected);
  }
}

TEST_F(AnonymousTargetTest, RetractedPageFaultsAgainAndTakesNewContent) {
  make({16});
  const auto older = page_pattern(1, 16);
  ASSERT_TRUE(target_.placer->place({0, 0, 16}, older.data()));
  ASSERT_TRUE(target_.placer->retract(std::array<PageRun, 1>{{{0, 4, 2}}}));
  EXPECT_TRUE(present({0, 3}));
  EXPECT_FALSE(present({0, 4}));
  EXPECT_FALSE(present({0, 5}));
  EXPECT_TRUE(present({0, 6}));
  Toucher toucher(memory(), {0, 5});
  EXPECT_EQ(next_fault().page, (PageId{0, 5}));
  place({0, 5}, 9);
  EXPECT_EQ(toucher.join(), first_word(page_pattern(9)));
}

TEST_F(AnonymousTargetTest, RetractsManyRunsAndNoMore) {
  constexpr std::uint64_t kPages = 3000;
  make({kPages, 4});
  const auto bytes = page_pattern(1, kPages);
  ASSERT_TRUE(target_.placer->place({0, 0, kPages}, bytes.data()));
  ASSERT_TRUE(target_.placer->place({1, 0, 4}, bytes.data()));
  std::vector<PageRun> runs;
  for (std::uint64_t page = 1; page < kPages; page += 2) {
    runs.push_back({0, page, 1});  // 1500 runs: several batches
  }
  ASSERT_TRUE(target_.placer->retract(runs));
  std::vector<PageRun> left;
  ASSERT_TRUE(make_anonymous_scan(memory())->scan([&](PageRun run) { left.push_back(run); }));
  ASSERT_EQ(left.size(), kPages / 2 + 1);
  for (std::size_t i = 0; i < kPages / 2; ++i) {
    ASSERT_EQ(left[i], (PageRun{0, 2 * i, 1}));
  }
  EXPECT_EQ(left.back(), (PageRun{1, 0, 4}));
}

TEST_F(AnonymousTargetTest, ZeroIsPlacedWhereNothingIs) {
  make({8});
  ASSERT_TRUE(target_.placer->place_zero({0, 2, 3}));
  EXPECT_TRUE(present({0, 2}));
  EXPECT_EQ(load_word(memory(), {0, 4}), 0U);  // does not wait
}

TEST_F(AnonymousTargetTest, NothingIsPlacedOrMappedBeforeArming) {
  make({8}, false);
  EXPECT_EQ(target_.placer->place({0, 0, 1}, page_pattern(1).data()).error().code,
            ErrorCode::kState);
  EXPECT_EQ(target_.faults->map({0, 0, 1}).error().code, ErrorCode::kState);
}

TEST_F(AnonymousTargetTest, RefusesPagesOutsideTheMemory) {
  make({8});
  const auto bytes = page_pattern(5, 2);
  EXPECT_FALSE(target_.placer->place({0, 7, 2}, bytes.data()));
  EXPECT_FALSE(target_.placer->place({1, 0, 1}, bytes.data()));
  EXPECT_FALSE(target_.placer->place_zero({0, UINT64_MAX, 2}));
  EXPECT_FALSE(target_.placer->retract(std::array<PageRun, 2>{{{0, 0, 1}, {0, 8, 1}}}));
  EXPECT_FALSE(target_.faults->map({0, 8, 1}));
}

TEST_F(AnonymousTargetTest, DisarmLetsEverybodyGoOn) {
  make({8, 8});
  Toucher toucher(memory(), {0, 4});
  EXPECT_TRUE(wait_readable(target_.faults->fd()));
  ASSERT_TRUE(target_.faults->disarm());
  EXPECT_EQ(toucher.join(), 0U);
}

// Two threads place the same runs with different content, a third maps holes where nobody places,
// while guest threads touch everything. Every toucher must see a page whole, of one of the two, and
// must go on.
TEST_F(AnonymousTargetTest, RacingPlacersLeaveEveryPageWhole) {
  constexpr std::uint64_t kPages = 2048;
  constexpr std::uint64_t kRun = 32;
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    SCOPED_TRACE(seed);
    make({kPages});
    std::atomic<int> failures{0};
    std::atomic<bool> over{false};
    // Every word of a page names page and placer: a torn page has two names.
    const auto name_of = [&](std::uint64_t page, std::uint64_t placer) {
      return page * 2 + placer + 1;
    };
    const auto place_all = [&](std::uint64_t placer) {
      std::vector<std::uint64_t> words(kRun * kWordsPerPage);
      for (std::uint64_t first = 0; first < kPages; first += kRun) {
        for (std::uint64_t i = 0; i < words.size(); ++i) {
          words[i] = name_of(first + i / kWordsPerPage, placer);
        }
        const auto* bytes = reinterpret_cast<const std::byte*>(words.data());
        if (!target_.placer->place({0, first, kRun}, bytes)) {
          failures.fetch_add(1, std::memory_order_relaxed);
        }
      }
    };
    const auto touch_all = [&](std::uint64_t stride) {
      for (std::uint64_t i = 0; i < kPages; ++i) {
        const auto page = i * stride % kPages;
        const auto name = load_word(memory(), {0, page});
        bool whole = name == name_of(page, 0) || name == name_of(page, 1);
        for (std::uint64_t word = 0; word < kWordsPerPage; word += 17) {
          whole = whole && load_word(memory(), {0, page}, word) == name;
        }
        failures.fetch_add(whole ? 0 : 1, std::memory_order_relaxed);
      }
    };
    {
      std::jthread reader([&] {
        std::array<engine::PageFault, 16> faults;
        while (!over.load(std::memory_order_relaxed)) {
          if (wait_readable(target_.faults->fd(), 1) && !target_.faults->read(faults)) {
            failures.fetch_add(1, std::memory_order_relaxed);
          }
        }
      });
      {
        std::vector<std::jthread> threads;
        for (const std::uint64_t stride : {7U, 9U, 11U}) {
          threads.emplace_back([&touch_all, stride] { touch_all(stride); });
        }
        threads.emplace_back([&] { place_all(0); });
        threads.emplace_back([&] { place_all(1); });
      }
      over.store(true, std::memory_order_relaxed);
    }
    EXPECT_EQ(failures.load(), 0);
  }
}

TEST(DirectPlacer, WritesAndOverwritesThroughTheMapping) {
  const TestMemory memory({8}, TestBacking::kAnonymous);
  const auto placer = make_direct_placer(memory.get());
  EXPECT_EQ(placer->placing(), engine::Placing::kBehind);
  EXPECT_STREQ(placer->name(), "memcpy");
  for (const std::uint64_t seed : {1U, 2U}) {
    const auto bytes = page_pattern(seed, 2);
    ASSERT_TRUE(placer->place({0, 3, 2}, bytes.data()));
    EXPECT_EQ(std::memcmp(memory.get().page({0, 3}), bytes.data(), bytes.size()), 0);
  }
  ASSERT_TRUE(placer->place_zero({0, 3, 1}));
  EXPECT_EQ(load_word(memory.get(), {0, 3}), 0U);
  EXPECT_NE(load_word(memory.get(), {0, 4}), 0U);
  EXPECT_FALSE(placer->place({0, 7, 2}, page_pattern(1, 2).data()));
}

}  // namespace
}  // namespace godwit::uffd
