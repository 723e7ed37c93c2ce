#include <set>
#include <vector>

#include <gtest/gtest.h>

#include "godwit/uffd/populated_scan.h"

#include "unit/uffd/uffd_support.h"

namespace godwit::uffd {
namespace {

class AnonymousScan : public testing::TestWithParam<AnonymousScanWay> {
 protected:
  static std::vector<PageRun> scan(const engine::GuestMemory& memory) {
    std::vector<PageRun> runs;
    const auto status =
        make_anonymous_scan(memory, GetParam())->scan([&](PageRun run) { runs.push_back(run); });
    EXPECT_TRUE(status) << status.error().message();
    return runs;
  }
  static void touch(const engine::GuestMemory& memory, PageId page) {
    *memory.page(page) = std::byte{1};
  }
};

TEST_P(AnonymousScan, FindsNothingWhenNothingWasWritten) {
  const TestMemory memory({16, 8}, TestBacking::kAnonymous);
  EXPECT_TRUE(scan(memory.get()).empty());
}

TEST_P(AnonymousScan, FindsRunsInsideTheRegionsOnly) {
  const TestMemory memory({16, 8}, TestBacking::kAnonymous);
  for (const PageId page : {PageId{0, 0}, {0, 1}, {0, 5}, {0, 15}, {1, 3}, {1, 7}}) {
    touch(memory.get(), page);
  }
  memory.get().regions[0].guest[16 * kPageBytes] = std::byte{1};  // between the regions
  const std::vector<PageRun> expected{{0, 0, 2}, {0, 5, 1}, {0, 15, 1}, {1, 3, 1}, {1, 7, 1}};
  EXPECT_EQ(scan(memory.get()), expected);
  EXPECT_EQ(scan(memory.get()), expected) << "scanning changed something";
}

TEST_P(AnonymousScan, FindsMorePagesThanOneCallReturns) {
  constexpr std::uint64_t kPages = 150'000;  // more than one buffer of either way
  const TestMemory memory({kPages}, TestBacking::kAnonymous);
  std::uint64_t touched = 0;
  for (std::uint64_t page = 0; page < kPages; page += 61, ++touched) {
    touch(memory.get(), {0, page});
  }
  const auto runs = scan(memory.get());
  ASSERT_EQ(runs.size(), touched);
  for (std::size_t i = 0; i < runs.size(); ++i) {
    ASSERT_EQ(runs[i], (PageRun{0, i * 61, 1}));
  }
}

TEST_P(AnonymousScan, AgreesWithAModelOnRandomPages) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    SplitMix64 random(seed);
    const TestMemory memory({200, 77}, TestBacking::kAnonymous);
    std::set<PageId> model;
    for (int i = 0; i < 60; ++i) {
      const auto region = static_cast<RegionIndex>(random.below(2));
      const PageId page{region, random.below(memory.get().regions[region].page_count)};
      touch(memory.get(), page);
      model.insert(page);
    }
    std::set<PageId> found;
    for (const auto run : scan(memory.get())) {
      for (auto i = run.first; i < run.end(); ++i) {
        EXPECT_TRUE(found.insert({run.region, i}).second);
      }
    }
    EXPECT_EQ(found, model);
  }
}

TEST_P(AnonymousScan, TellsTheFirstPageAndTheFirstRunOfAPart) {
  const TestMemory memory({40, 8}, TestBacking::kAnonymous);
  for (const auto page : kTouchedForFirstAndNext) {
    touch(memory.get(), page);
  }
  const auto scan = make_anonymous_scan(memory.get(), GetParam());
  expect_first_and_next(*scan);
}

INSTANTIATE_TEST_SUITE_P(Ways,
                         AnonymousScan,
                         testing::Values(AnonymousScanWay::kBest, AnonymousScanWay::kPagemap),
                         [](const auto& way) {
                           return way.param == AnonymousScanWay::kBest ? "Best" : "Pagemap";
                         });

TEST(AnonymousScanOfReadPages, LeavesOutWhatWasOnlyReadWhereTheKernelTells) {
  const TestMemory memory({8}, TestBacking::kAnonymous);
  EXPECT_EQ(load_word(memory.get(), {0, 2}), 0U);
  *memory.get().page({0, 4}) = std::byte{1};
  std::vector<PageRun> best;
  std::vector<PageRun> pagemap;
  ASSERT_TRUE(make_anonymous_scan(memory.get())->scan([&](PageRun run) { best.push_back(run); }));
  ASSERT_TRUE(make_anonymous_scan(memory.get(), AnonymousScanWay::kPagemap)->scan([&](PageRun run) {
    pagemap.push_back(run);
  }));
  EXPECT_EQ(pagemap, (std::vector<PageRun>{{0, 2, 1}, {0, 4, 1}}));
  if (best == pagemap) {
    GTEST_SKIP() << "this kernel has no PAGEMAP_SCAN (Linux 6.7)";
  }
  EXPECT_EQ(best, (std::vector<PageRun>{{0, 4, 1}}));
}

}  // namespace
}  // namespace godwit::uffd
