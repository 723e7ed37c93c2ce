#include "godwit/uffd/scan_dirty_source.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <memory>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "dirty_support.h"
#include "uffd_support.h"

namespace godwit::uffd {
namespace {

class ScanDirtySourceTest : public testing::Test {
 protected:
  void SetUp() override { GODWIT_NEEDS_UFFD(async_tracking()); }

  void make(const std::vector<std::uint64_t>& region_pages) {
    memory_ = std::make_unique<TestMemory>(region_pages);
    consumer_ = std::make_unique<Consumer>(memory_->get());
    auto source = make_scan_dirty_source(memory_->get());
    ASSERT_TRUE(source) << source.error().message();
    source_ = std::move(*source);
  }
  void start() {
    const auto started = source_->start(*consumer_);
    ASSERT_TRUE(started) << started.error().message();
  }
  void sync() {
    const auto synced = source_->sync();
    ASSERT_TRUE(synced) << synced.error().message();
  }
  void write(PageId page, std::uint64_t value = 1) {
    guest_word(memory_->get(), page, 0).store(value, std::memory_order_relaxed);
  }
  const engine::GuestMemory& memory() { return memory_->get(); }

  std::unique_ptr<TestMemory> memory_;
  std::unique_ptr<Consumer> consumer_;
  std::unique_ptr<engine::DirtySource> source_;
};

TEST_F(ScanDirtySourceTest, MarksExactlyTheWrittenPages) {
  make({200, 70});
  write({0, 5});  // before start: not tracked, but populated
  start();
  EXPECT_EQ(load_word(memory(), {0, 9}), 0U);  // reading is not writing
  for (const PageId page : {PageId{0, 0}, {0, 5}, {0, 63}, {0, 64}, {0, 199}, {1, 69}}) {
    write(page);
  }
  sync();
  for (const PageId page : {PageId{0, 0}, {0, 5}, {0, 63}, {0, 64}, {0, 199}, {1, 69}}) {
    EXPECT_TRUE(consumer_->marked(page)) << page.region << ":" << page.index;
  }
  EXPECT_EQ(consumer_->copy_marked(), 6U);
  sync();
  EXPECT_EQ(consumer_->copy_marked(), 0U);
}

TEST_F(ScanDirtySourceTest, SyncArmsAgain) {
  make({100});
  start();
  for (std::uint64_t round = 1; round <= 20; ++round) {
    write({0, round}, round);
    write({0, 50}, round);
    sync();
    EXPECT_TRUE(consumer_->marked({0, round}));
    EXPECT_TRUE(consumer_->marked({0, 50}));
    EXPECT_EQ(consumer_->copy_marked(), 2U);
  }
}

TEST_F(ScanDirtySourceTest, StartsAgainAfterStop) {
  make({100});
  for (int round = 0; round < 3; ++round) {
    start();
    EXPECT_FALSE(source_->start(*consumer_));
    write({0, 7});
    sync();
    EXPECT_EQ(consumer_->copy_marked(), 1U);
    source_->stop();
  }
}

TEST_F(ScanDirtySourceTest, StartFailsWhenSomebodyElseHasTheMemoryAndLeavesNothing) {
  make({4, 4});
  auto holder = Uffd::open(tracking(), Mode::kUserFaultsEnough).value();
  ASSERT_TRUE(holder.register_range(
      memory().regions[1].guest, 4 * kPageBytes, Registration::kWriteProtect));
  EXPECT_FALSE(source_->start(*consumer_));
  write({0, 0});  // does not wait
  ASSERT_TRUE(holder.unregister_range(memory().regions[1].guest, 4 * kPageBytes));
  start();
  write({1, 0});
  sync();
  EXPECT_TRUE(consumer_->marked({1, 0}));
}

TEST_F(ScanDirtySourceTest, ManyScatteredPagesNeedSeveralCalls) {
  constexpr std::uint64_t kPages = 20'000;  // every other one: more ranges than one call returns
  make({kPages});
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

TEST_F(ScanDirtySourceTest, WriteThatEndedBeforeSyncIsMarkedOnReturn) {
  constexpr std::uint64_t kPages = 16;
  make({kPages});
  start();
  Writers writers(memory(), 6, 1);
  SplitMix64 random(2);
  std::uint64_t missed = 0;
  for (std::uint64_t round = 1; round <= 5000; ++round) {
    const PageId page{0, random.below(kPages)};
    write(page, round);
    sync();
    missed += consumer_->marked(page) ? 0 : 1;
    consumer_->copy_marked();
  }
  EXPECT_EQ(missed, 0U);
  writers.stop();
  source_->stop();
}

// The promise as a whole: copying exactly the marked pages after each sync, and once more when the
// writers have stopped, gives a true copy.
TEST_F(ScanDirtySourceTest, CopyIsTrueAfterTheLastSyncUnderRandomWrites) {
  constexpr std::uint64_t kCopies = 4000;
  for (std::uint64_t seed = 1; seed <= 8; ++seed) {
    SCOPED_TRACE(seed);
    // Dense, and so sparse that no two pages are protected in one call: a page that was left
    // writable by mistake is not made good by its neighbours.
    const std::uint64_t stride = seed % 2 == 0 ? 1 : 40;
    make({60 * stride, 20 * stride});
    start();
    consumer_->copy_all();
    Writers writers(memory(), 3, seed, stride);
    // Paced by what the syncs find, so that there is enough of it whatever the scheduler does.
    std::uint64_t copied = 0;
    while (copied < kCopies) {
      sync();
      copied += consumer_->copy_marked();
    }
    writers.stop();
    sync();
    consumer_->copy_marked();
    const auto stale = consumer_->stale_pages();
    EXPECT_TRUE(stale.empty()) << stale.size() << " pages, first " << stale[0].region << ":"
                               << stale[0].index;
    source_->stop();
  }
}

TEST_F(ScanDirtySourceTest, StopLetsRunningWritersGoOn) {
  make({256, 64});
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    Writers writers(memory(), 3, seed);
    start();
    sync();
    source_->stop();
    // Every writer gets ahead: none was left waiting.
    const auto before = writers.writes();
    while (writers.writes() < before + 1000) {
      std::this_thread::yield();
    }
    writers.stop();
  }
}

}  // namespace
}  // namespace godwit::uffd
