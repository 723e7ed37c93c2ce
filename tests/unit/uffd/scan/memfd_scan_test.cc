#include <unistd.h>

#include <cstring>
#include <set>
#include <vector>

#include <gtest/gtest.h>

#include "godwit/uffd/populated_scan.h"

#include "unit/uffd/uffd_support.h"

namespace godwit::uffd {
namespace {

std::vector<PageRun> scan_all(const engine::GuestMemory& memory) {
  std::vector<PageRun> runs;
  const auto status = make_memfd_scan(memory)->scan([&](PageRun run) { runs.push_back(run); });
  EXPECT_TRUE(status) << status.error().message();
  return runs;
}

void touch(const engine::GuestMemory& memory, PageId page) {
  *memory.page(page) = std::byte{1};
}

TEST(MemfdScan, FindsNothingWhenNothingWasWritten) {
  const TestMemory memory({16, 8});
  EXPECT_TRUE(scan_all(memory.get()).empty());
}

TEST(MemfdScan, FindsRunsBetweenHolesInOrder) {
  const TestMemory memory({16, 8});
  for (const PageId page : {PageId{0, 0}, {0, 1}, {0, 5}, {0, 15}, {1, 3}, {1, 7}}) {
    touch(memory.get(), page);
  }
  const std::vector<PageRun> expected{{0, 0, 2}, {0, 5, 1}, {0, 15, 1}, {1, 3, 1}, {1, 7, 1}};
  EXPECT_EQ(scan_all(memory.get()), expected);
}

TEST(MemfdScan, StaysInsideTheRegionWhenTheFileHasDataAround) {
  const TestMemory memory({4, 4});
  // The whole file, with the pages that belong to no region.
  const std::vector<std::byte> all(11 * kPageBytes, std::byte{7});
  ASSERT_EQ(::pwrite(memory.fd(), all.data(), all.size(), 0), static_cast<ssize_t>(all.size()));
  const std::vector<PageRun> expected{{0, 0, 4}, {1, 0, 4}};
  EXPECT_EQ(scan_all(memory.get()), expected);
}

TEST(MemfdScan, ScanningLeavesEverythingAsItIs) {
  const TestMemory memory({8});
  touch(memory.get(), {0, 2});
  auto first = scan_all(memory.get());
  EXPECT_EQ(first, scan_all(memory.get()));
}

TEST(MemfdScan, AgreesWithAModelOnRandomPages) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    SplitMix64 random(seed);
    const TestMemory memory({200, 77});
    std::set<PageId> model;
    for (int i = 0; i < 60; ++i) {
      const auto region = static_cast<RegionIndex>(random.below(2));
      const PageId page{region, random.below(memory.get().regions[region].page_count)};
      touch(memory.get(), page);
      model.insert(page);
    }
    std::set<PageId> found;
    for (const auto run : scan_all(memory.get())) {
      for (auto i = run.first; i < run.end(); ++i) {
        EXPECT_TRUE(found.insert({run.region, i}).second);
      }
    }
    EXPECT_EQ(found, model);
  }
}

TEST(MemfdScan, TellsTheFirstPageAndTheFirstRunOfAPart) {
  const TestMemory memory({40, 8});
  for (const auto page : kTouchedForFirstAndNext) {
    touch(memory.get(), page);
  }
  const auto scan = make_memfd_scan(memory.get());
  expect_first_and_next(*scan);
  EXPECT_EQ(scan->next({0, 11, 1}).value(), (PageRun{0, 11, 2})) << "a run may reach beyond";
}

TEST(MemfdScan, FailsWhenTheFileIsNone) {
  engine::GuestMemory memory;
  memory.regions.push_back({0, 4, nullptr, nullptr, -1, 0});
  EXPECT_FALSE(make_memfd_scan(memory)->scan([](PageRun) {}));
}

}  // namespace
}  // namespace godwit::uffd
