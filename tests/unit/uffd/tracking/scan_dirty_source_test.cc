#include "godwit/uffd/scan_dirty_source.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <memory>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "dirty_support.h"
#include "unit/uffd/uffd_support.h"

namespace godwit::uffd {
namespace {

class ScanDirtySourceTest : public TrackedMemoryTest {
 protected:
  void SetUp() override { GODWIT_NEEDS_UFFD(async_tracking()); }
  void make(const std::vector<std::uint64_t>& region_pages) {
    TrackedMemoryTest::make(region_pages, make_scan_dirty_source);
  }
};

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

}  // namespace
}  // namespace godwit::uffd
