#include "godwit/uffd/wp_dirty_source.h"

#include <memory>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "godwit/uffd/populated_scan.h"

#include "dirty_support.h"
#include "unit/uffd/uffd_support.h"

namespace godwit::uffd {
namespace {

class WpDirtySourceTest : public TrackedMemoryTest,
                          public testing::WithParamInterface<TestBacking> {
 protected:
  void SetUp() override { GODWIT_NEEDS_UFFD(tracking()); }
  void make(const std::vector<std::uint64_t>& region_pages) {
    TrackedMemoryTest::make(region_pages, make_wp_dirty_source, GetParam());
  }
};

TEST_P(WpDirtySourceTest, PagesThatNobodyTouchedStayUnpopulated) {
  make({64});
  write({0, 7});
  start();
  write({0, 9});
  sync();
  const auto scan = GetParam() == TestBacking::kAnonymous ? make_anonymous_scan(memory())
                                                          : make_memfd_scan(memory());
  std::vector<PageRun> found;
  ASSERT_TRUE(scan->scan([&](PageRun run) { found.push_back(run); }));
  EXPECT_EQ(found, (std::vector<PageRun>{{0, 7, 1}, {0, 9, 1}}));
}

TEST_P(WpDirtySourceTest, NothingIsDroppedWhenTheQueueIsFull) {
  make({9000});  // one record a page: more than twice the queue
  start();
  for (std::uint64_t page = 0; page < 9000; ++page) {
    write({0, page});
  }
  sync();
  EXPECT_EQ(consumer_->copy_marked(), 9000U);
  EXPECT_TRUE(consumer_->stale_pages().empty());
}

TEST_P(WpDirtySourceTest, StopMarksWhatNoSyncTook) {
  make({100});
  start();
  write({0, 42});
  source_->stop();
  EXPECT_TRUE(consumer_->marked({0, 42}));
  write({0, 43});  // nobody waits any more
  EXPECT_EQ(consumer_->copy_marked(), 1U);
  source_->stop();
  EXPECT_FALSE(source_->sync());
}

TEST_P(WpDirtySourceTest, DestructionWhileWritersRunLetsThemGoOn) {
  make({64});
  Writers writers(memory(), 2, 3);
  start();
  source_.reset();
  writers.stop();
}

INSTANTIATE_TEST_SUITE_P(Backings,
                         WpDirtySourceTest,
                         testing::Values(TestBacking::kMemfd, TestBacking::kAnonymous),
                         [](const auto& backing) {
                           return backing.param == TestBacking::kMemfd ? "Memfd" : "Anonymous";
                         });

}  // namespace
}  // namespace godwit::uffd
