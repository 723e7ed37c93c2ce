#include "godwit/uffd/scan_dirty_source.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <fstream>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "godwit/engine/mark_run.h"
#include "godwit/uffd/populated_scan.h"

#include "dirty_support.h"
#include "unit/uffd/uffd_support.h"

namespace godwit::uffd {
namespace {

class Pages final : public engine::DirtySink {
 public:
  void mark(RegionIndex /*region*/, std::uint64_t word, std::uint64_t mask) override {
    engine::for_each_run(word, mask, [this](std::uint64_t first, std::uint64_t count) {
      for (auto page = first; page < first + count; ++page) {
        marked.insert(page);
      }
    });
  }
  std::set<std::uint64_t> marked;
};

class ScanDirtySourceTest : public TrackedMemoryTest {
 protected:
  void SetUp() override { GODWIT_NEEDS_UFFD(async_tracking()); }
  void make(const std::vector<std::uint64_t>& region_pages,
            TestBacking backing = TestBacking::kMemfd) {
    TrackedMemoryTest::make(region_pages, make_scan_dirty_source, backing);
  }
  /// Page tables of this process.
  static std::uint64_t table_bytes() {
    std::ifstream status("/proc/self/status");
    for (std::string word; status >> word;) {
      if (word == "VmPTE:") {
        std::uint64_t kib = 0;
        status >> kib;
        return kib << 10U;
      }
    }
    return 0;
  }
};

TEST_F(ScanDirtySourceTest, ManyScatteredPagesNeedSeveralCalls) {
  constexpr std::uint64_t kPages = 20'000;  // every other one: more ranges than one call returns
  make({kPages});
  write({0, 0});
  start();
  for (std::uint64_t page = 0; page < kPages; page += 2) {
    write({0, page});
  }
  sync();
  EXPECT_EQ(consumer_->copy_marked(), kPages / 2);
  EXPECT_TRUE(consumer_->stale_pages().empty());
  sync();
  EXPECT_EQ(consumer_->copy_marked(), 0U);
}

// Memory of files may be unmapped behind our back at any time; the content stays in the file, and
// with it the duty to report it.
TEST_F(ScanDirtySourceTest, UnmappedPageKeepsItsMark) {
  make({100});
  start();
  write({0, 10}, 7);
  write({0, 11}, 7);
  ASSERT_EQ(::madvise(memory().page({0, 10}), kPageBytes, MADV_DONTNEED), 0);
  ASSERT_EQ(load_word(memory(), {0, 11}), 7U);
  sync();
  EXPECT_TRUE(consumer_->marked({0, 10}));
  EXPECT_TRUE(consumer_->marked({0, 11}));
  EXPECT_EQ(consumer_->copy_marked(), 2U);
  // Protected, unmapped, then written: a marker has kept the protection.
  ASSERT_EQ(::madvise(memory().page({0, 10}), 2 * kPageBytes, MADV_DONTNEED), 0);
  EXPECT_EQ(load_word(memory(), {0, 10}), 7U);
  sync();
  EXPECT_EQ(consumer_->copy_marked(), 0U);
  write({0, 10}, 8);
  write({0, 11}, 8);
  sync();
  EXPECT_EQ(consumer_->copy_marked(), 2U);
  EXPECT_TRUE(consumer_->stale_pages().size() == 0);
}

constexpr std::uint64_t kLargePages = 1ULL << 26U;  // 256 GiB: 512 MiB of page tables for all of it

TEST_F(ScanDirtySourceTest, LargeEmptyMemoryCostsNothing) {
  for (const auto backing : {TestBacking::kMemfd, TestBacking::kAnonymous}) {
    memory_ = std::make_unique<TestMemory>(std::vector{kLargePages}, backing);
    Pages pages;
    source_ = std::move(make_scan_dirty_source(memory()).value());
    const auto scan = make_populated_scan(memory());
    const auto before = table_bytes();
    write({0, 12'345'678});
    ASSERT_TRUE(source_->start(pages));
    // In a block that had a page, in one that had none, and at both ends.
    const std::set<std::uint64_t> written{0, 12'345'678, 12'345'679, 40'000'000, kLargePages - 1};
    for (const auto page : written) {
      write({0, page});
    }
    ASSERT_TRUE(source_->sync());
    EXPECT_EQ(pages.marked, written);
    pages.marked.clear();
    ASSERT_TRUE(source_->sync());
    EXPECT_TRUE(pages.marked.empty());
    write({0, 40'000'000});
    ASSERT_TRUE(source_->sync());
    EXPECT_EQ(pages.marked, (std::set<std::uint64_t>{40'000'000}));
    EXPECT_LT(table_bytes() - before, kMiB);
    // The tracker's markers, if there are any, are no pages.
    std::set<std::uint64_t> populated;
    ASSERT_TRUE(scan->scan([&](PageRun run) {
      for (auto page = run.first; page < run.end(); ++page) {
        populated.insert(page);
      }
    }));
    EXPECT_EQ(populated, written);
    source_->stop();
  }
}

// The scan for populated pages may come at any time after start(): what is written meanwhile is
// found by it or by the next sync.
TEST_F(ScanDirtySourceTest, FirstWritesAreFoundByTheScanOrTheSync) {
  constexpr std::uint64_t kPages = 20'000;  // three blocks
  for (const auto backing : {TestBacking::kMemfd, TestBacking::kAnonymous}) {
    for (std::uint64_t seed = 1; seed <= 5; ++seed) {
      make({kPages}, backing);
      const auto scan = make_populated_scan(memory());
      Writers writers(memory(), 2, seed);
      while (writers.writes() < 100 * seed) {
        std::this_thread::yield();
      }
      start();
      ASSERT_TRUE(scan->scan([&](PageRun run) { engine::mark_run(*consumer_, run); }));
      for (int round = 0; round < 3; ++round) {
        consumer_->copy_marked();
        sync();
      }
      writers.stop();
      sync();
      consumer_->copy_marked();
      EXPECT_TRUE(consumer_->stale_pages().empty()) << "seed " << seed;
      source_->stop();
    }
  }
}

// Swapped pages keep their protection and their content; there may be no swap space here, and then
// nothing is paged out and the test holds all the same.
TEST_F(ScanDirtySourceTest, PagedOutPagesAreReportedIfWritten) {
  for (const auto backing : {TestBacking::kMemfd, TestBacking::kAnonymous}) {
    make({64}, backing);
    for (std::uint64_t page = 0; page < 32; ++page) {
      write({0, page});
    }
    start();
    write({0, 3}, 2);
    write({0, 40}, 2);
    (void)::madvise(memory().page({0, 0}), 64 * kPageBytes, MADV_PAGEOUT);
    sync();
    EXPECT_TRUE(consumer_->marked({0, 3}));
    EXPECT_TRUE(consumer_->marked({0, 40}));
    EXPECT_EQ(consumer_->copy_marked(), 2U);
    source_->stop();
  }
}

TEST_F(ScanDirtySourceTest, SystemCallsMayWriteToTrackedMemory) {
  make({10});
  start();
  const int zero = ::open("/dev/zero", O_RDONLY | O_CLOEXEC);
  ASSERT_GE(zero, 0);
  EXPECT_EQ(::read(zero, memory().page({0, 3}), kPageBytes), static_cast<ssize_t>(kPageBytes));
  ::close(zero);
  sync();
  EXPECT_TRUE(consumer_->marked({0, 3}));
  EXPECT_EQ(consumer_->copy_marked(), 1U);
}

}  // namespace
}  // namespace godwit::uffd
