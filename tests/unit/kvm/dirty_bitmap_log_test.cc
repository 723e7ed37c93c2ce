#include "godwit/kvm/dirty_bitmap_log.h"

#include <linux/kvm.h>

#include <cstring>
#include <set>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "godwit/base/units.h"
#include "godwit/kvm/vcpu_thread.h"

#include "support/require_kvm.h"
#include "tiny_machine.h"

namespace godwit::kvm {
namespace {

constexpr std::uint64_t kDataPages = 16384;
constexpr std::uint64_t kExtraPages = 37;  // the slot ends inside a word

/// Collects marked pages.
class PageSet final : public engine::DirtySink {
 public:
  void mark(RegionIndex region, std::uint64_t word, std::uint64_t mask) override {
    EXPECT_EQ(region, 0U);
    for (unsigned bit = 0; bit < 64; ++bit) {
      if ((mask >> bit & 1) != 0) {
        pages.insert(word * 64 + bit);
      }
    }
  }
  std::set<std::uint64_t> pages;
};

class DirtyBitmapLogTest : public ::testing::Test {
 protected:
  void SetUp() override {
    GODWIT_NEED_KVM();
    auto machine = TinyMachine::create(kDataPages, kExtraPages, 60);
    ASSERT_OK(machine);
    machine_ = std::move(*machine);
    auto thread = VcpuThread::start(
        *machine_->vcpu,
        [](VcpuThread&, Vcpu&, std::int64_t) -> Result<VcpuThread::Next> {
          return fail(ErrorCode::kGuest, "test", "unexpected exit");
        },
        nullptr);
    ASSERT_OK(thread);
    thread_ = std::move(*thread);
  }
  void run_for(std::chrono::microseconds time) {
    ASSERT_OK(thread_->resume());
    std::this_thread::sleep_for(time);
    pause();
  }
  void pause() {
    thread_->request_pause();
    ASSERT_OK(thread_->wait_paused());
  }
  [[nodiscard]] std::vector<std::uint64_t> words() const {
    std::vector<std::uint64_t> all;
    for (std::uint64_t page = TinyMachine::kFirstDataPage; page < machine_->page_count; ++page) {
      all.push_back(machine_->word_of_page(page));
    }
    return all;
  }

  std::unique_ptr<TinyMachine> machine_;
  std::unique_ptr<VcpuThread> thread_;
};

TEST_F(DirtyBitmapLogTest, StartsEmptyAndFindsWhatWasWritten) {
  run_for(std::chrono::milliseconds(10));
  DirtyBitmapLog log(machine_->vm);
  PageSet sink;
  ASSERT_OK(log.start(sink));
  ASSERT_OK(log.sync());
  EXPECT_TRUE(sink.pages.empty()) << "an armed log starts clean";
  for (int round = 0; round < 30; ++round) {
    sink.pages.clear();
    const auto before = words();
    run_for(std::chrono::microseconds(20 * round));
    const auto after = words();
    ASSERT_OK(log.sync());
    std::set<std::uint64_t> written;
    for (std::size_t i = 0; i < before.size(); ++i) {
      if (before[i] != after[i]) {
        written.insert(TinyMachine::kFirstDataPage + i);
      }
    }
    for (const auto page : written) {
      ASSERT_EQ(sink.pages.count(page), 1U) << "page " << page << " is missing in round " << round;
    }
    // A stop may fall between the fault that makes a page writable and the write: one page more, no
    // harm.
    // AMD processors take every walk of the guest's page tables for a write to them: those pages are
    // marked, too.
    std::erase_if(sink.pages, [](auto page) { return page < TinyMachine::kFirstDataPage; });
    ASSERT_LE(sink.pages.size(), written.size() + 1) << "round " << round;
  }
}

TEST_F(DirtyBitmapLogTest, LosesNoWriteWhileTheGuestRuns) {
  DirtyBitmapLog log(machine_->vm);
  PageSet sink;
  std::vector<std::byte> mirror(machine_->memory.data(),
                                machine_->memory.data() + machine_->memory.size());
  ASSERT_OK(log.start(sink));
  const auto copy_marked = [&] {
    for (const auto page : sink.pages) {
      std::memcpy(mirror.data() + (page << kPageShift),
                  machine_->memory.data() + (page << kPageShift),
                  kPageBytes);
    }
    sink.pages.clear();
  };
  // One sync while the guest writes, then a stop at once: a page whose bit a sync wiped out without
  // reporting it would be written again and heal in a longer run.
  for (int round = 0; round < 100; ++round) {
    ASSERT_OK(thread_->resume());
    for (int spin = 0; spin < 2000 * (round % 10); ++spin) {
      asm volatile("pause");
    }
    ASSERT_OK(log.sync());
    if (round % 2 == 0) {
      copy_marked();
    }
    pause();
    ASSERT_OK(log.sync());
    copy_marked();
    ASSERT_EQ(std::memcmp(mirror.data(), machine_->memory.data(), mirror.size()), 0)
        << "round " << round;
  }
  ASSERT_OK(log.sync());
  EXPECT_TRUE(sink.pages.empty()) << "nothing has run since";
}

TEST_F(DirtyBitmapLogTest, StopsAndStartsAgainClean) {
  DirtyBitmapLog log(machine_->vm);
  PageSet sink;
  EXPECT_EQ(log.sync().error().code, ErrorCode::kState);
  ASSERT_OK(log.start(sink));
  EXPECT_EQ(log.start(sink).error().code, ErrorCode::kState);
  run_for(std::chrono::milliseconds(1));
  log.stop();
  log.stop();
  EXPECT_FALSE(machine_->vm.dirty_logging(0));
  EXPECT_TRUE(sink.pages.empty());
  run_for(std::chrono::milliseconds(1));
  ASSERT_OK(log.start(sink));
  ASSERT_OK(log.sync());
  EXPECT_TRUE(sink.pages.empty()) << "writes from before start() are not this log's";
  EXPECT_STREQ(log.name(), "log");
}

}  // namespace
}  // namespace godwit::kvm
