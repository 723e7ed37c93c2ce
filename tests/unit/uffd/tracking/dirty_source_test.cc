#include <sys/mman.h>

#include <memory>
#include <ostream>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "godwit/uffd/scan_dirty_source.h"
#include "godwit/uffd/wp_dirty_source.h"

#include "dirty_support.h"
#include "support/vm_flags.h"
#include "unit/uffd/uffd_support.h"

// What every write-protecting dirty source promises; the tests of one alone are in its own file.

namespace godwit::uffd {
namespace {

enum class Kind { kWpMemfd, kWpAnonymous, kScanMemfd, kScanAnonymous };

class DirtySourceTest : public TrackedMemoryTest, public testing::WithParamInterface<Kind> {
 protected:
  static bool scans() {
    return GetParam() == Kind::kScanMemfd || GetParam() == Kind::kScanAnonymous;
  }
  static bool anonymous() {
    return GetParam() == Kind::kWpAnonymous || GetParam() == Kind::kScanAnonymous;
  }
  static auto needed() { return scans() ? async_tracking() : tracking(); }
  void SetUp() override { GODWIT_NEEDS_UFFD(needed()); }
  void make(const std::vector<std::uint64_t>& region_pages) {
    TrackedMemoryTest::make(region_pages,
                            scans() ? make_scan_dirty_source : make_wp_dirty_source,
                            anonymous() ? TestBacking::kAnonymous : TestBacking::kMemfd);
  }
};

TEST_P(DirtySourceTest, MarksExactlyTheWrittenPages) {
  make({200, 70});
  write({0, 5});  // before start: not tracked, but populated
  start();
  EXPECT_NE(load_word(memory(), {0, 5}), 0U);  // reading is not writing
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

// A page that KSM merges loses its write protection, and with it the next write's trace.
TEST_P(DirtySourceTest, TakesMemoryOutOfTheHandsOfKsm) {
  make({64, 16});
  for (const auto& region : memory().regions) {
    if (::madvise(region.guest, region.page_count << kPageShift, MADV_MERGEABLE) != 0) {
      GTEST_SKIP() << "this kernel has no KSM";
    }
    EXPECT_EQ(test::vm_flags(region.guest).find("mg ") != std::string::npos, anonymous());
  }
  start();
  for (const auto& region : memory().regions) {
    EXPECT_EQ(test::vm_flags(region.guest).find("mg "), std::string::npos);
  }
}

TEST_P(DirtySourceTest, FirstReadOfAPageThatNobodyWroteIsNoLostWriteLater) {
  make({8});
  start();
  EXPECT_EQ(load_word(memory(), {0, 3}), 0U);
  sync();
  // Where nothing was before, a first read cannot always be told from a first write.
  EXPECT_EQ(consumer_->copy_marked(), GetParam() == Kind::kWpMemfd ? 0U : 1U);
  write({0, 3});
  sync();
  EXPECT_TRUE(consumer_->marked({0, 3}));
  EXPECT_EQ(consumer_->copy_marked(), 1U);
}

TEST_P(DirtySourceTest, SyncArmsAgain) {
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

TEST_P(DirtySourceTest, StartsAgainAfterStop) {
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

TEST_P(DirtySourceTest, StartFailsWhenSomebodyElseHasTheMemoryAndLeavesNothing) {
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

// Neighbours of the handler's hands: the syncing thread itself writes a page that others fault on,
// so its write can slip in when the protection is just off and the record not yet published; then
// it syncs at once.
TEST_P(DirtySourceTest, WriteThatEndedBeforeSyncIsMarkedOnReturn) {
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
TEST_P(DirtySourceTest, CopyIsTrueAfterTheLastSyncUnderRandomWrites) {
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

TEST_P(DirtySourceTest, StopLetsRunningWritersGoOn) {
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

INSTANTIATE_TEST_SUITE_P(
    Kinds,
    DirtySourceTest,
    testing::Values(Kind::kWpMemfd, Kind::kWpAnonymous, Kind::kScanMemfd, Kind::kScanAnonymous),
    [](const auto& kind) {
      switch (kind.param) {
        case Kind::kWpMemfd:
          return "WpMemfd";
        case Kind::kWpAnonymous:
          return "WpAnonymous";
        case Kind::kScanMemfd:
          return "ScanMemfd";
        case Kind::kScanAnonymous:
          return "ScanAnonymous";
      }
      return "";
    });

}  // namespace
}  // namespace godwit::uffd
