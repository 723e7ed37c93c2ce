#include "godwit/kvm/dirty_ring.h"

#include <linux/kvm.h>
#include <sys/ioctl.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "godwit/base/clock.h"
#include "godwit/base/units.h"
#include "godwit/engine/atomic_bitmap.h"
#include "godwit/kvm/vcpu_thread.h"

#include "support/require_kvm.h"
#include "tiny_machine.h"

namespace godwit::kvm {
namespace {

constexpr std::uint64_t kRingPages = 16384;
constexpr std::uint64_t kRingExtraPages = 37;  // the slot ends inside a word
/// The least that a processor with page-modification logging accepts.
constexpr std::uint32_t kSmallRing = 1024;

/// Collects marks from any thread, and keeps a copy of the memory as the engine does: of the marked
/// pages, after each sync.
class Mirror final : public engine::DirtySink {
 public:
  explicit Mirror(const TinyMachine& machine)
      : machine_(machine),
        marks_({machine.page_count}),
        bytes_(machine.memory.data(), machine.memory.data() + machine.memory.size()) {}

  void mark(RegionIndex region, std::uint64_t word, std::uint64_t mask) override {
    EXPECT_EQ(region, 0U);
    if (!after_copy) {
      marks_[0].set(word, mask);
      return;
    }
    {
      const std::lock_guard lock(mutex_);
      engine::for_each_run(
          word, mask, [this](std::uint64_t first, std::uint64_t count) { copy(first, count); });
    }
    after_copy();
  }
  /// How many pages of data there were.
  std::uint64_t copy_marked() {
    const std::lock_guard lock(mutex_);
    std::uint64_t pages = 0;
    marks_[0].harvest([&](std::uint64_t word, std::uint64_t bits) {
      engine::for_each_run(word, bits, [&](std::uint64_t first, std::uint64_t count) {
        // AMD processors take every walk of the guest's page tables for a write to them: those
        // pages are marked, too.
        pages += first < TinyMachine::kFirstDataPage ? 0 : count;
        copy(first, count);
      });
    });
    return pages;
  }
  void copy_all() {
    const std::lock_guard lock(mutex_);
    std::memcpy(bytes_.data(), machine_.memory.data(), bytes_.size());
  }
  [[nodiscard]] bool marked(std::uint64_t page) const { return marks_[0].test(page); }
  [[nodiscard]] bool is_true() const {
    const std::lock_guard lock(mutex_);
    return std::memcmp(bytes_.data(), machine_.memory.data(), bytes_.size()) == 0;
  }

  /// When set, pages are copied as early as a mark allows, and this is called after each.
  std::function<void()> after_copy;

 private:
  void copy(std::uint64_t first, std::uint64_t count) {
    std::memcpy(bytes_.data() + (first << kPageShift),
                machine_.memory.data() + (first << kPageShift),
                count << kPageShift);
  }

  const TinyMachine& machine_;
  mutable std::mutex mutex_;
  engine::RegionBitmaps marks_;
  std::vector<std::byte> bytes_;
};

class DirtyRingTest : public ::testing::Test {
 protected:
  void SetUp() override {
    GODWIT_NEED_KVM();
    const auto system = System::open();
    ASSERT_OK(system);
    if (const auto why = dirty_ring_unusable_reason(*system); !why.empty()) {
      GTEST_SKIP() << why;
    }
  }
  void TearDown() override {
    threads_.clear();  // before the ring that they may wait for
    ring_.reset();
  }

  void make(std::uint32_t entries, std::uint32_t vcpus, std::uint64_t pages = kRingPages) {
    auto machine =
        TinyMachine::create(pages, kRingExtraPages, 60, {.vcpus = vcpus, .ring_entries = entries});
    ASSERT_OK(machine);
    machine_ = std::move(*machine);
    mirror_ = std::make_unique<Mirror>(*machine_);
    auto ring = DirtyRing::create(machine_->vm, machine_->vcpus, [this] { leave_guest(threads_); });
    ASSERT_OK(ring);
    ring_ = std::move(*ring);
    for (auto& vcpu : machine_->vcpus) {
      auto thread = VcpuThread::start(
          vcpu,
          [](VcpuThread&, Vcpu&, std::int64_t) -> Result<VcpuThread::Next> {
            return fail(ErrorCode::kGuest, "test", "unexpected exit");
          },
          nullptr,
          [this] {
            ++waiting_;
            waiting_.notify_one();
            auto status = ring_->wait_reset();
            --waiting_;
            return status;
          });
      ASSERT_OK(thread);
      threads_.push_back(std::move(*thread));
    }
  }
  void resume() {
    for (auto& thread : threads_) {
      ASSERT_OK(thread->resume());
    }
  }
  void pause() {
    for (auto& thread : threads_) {
      thread->request_pause();
    }
    for (auto& thread : threads_) {
      ASSERT_OK(thread->wait_paused());
    }
  }
  void run_for(std::chrono::microseconds time) {
    resume();
    std::this_thread::sleep_for(time);
    pause();
  }
  [[nodiscard]] std::vector<std::uint64_t> words() const {
    std::vector<std::uint64_t> all;
    for (std::uint64_t page = 0; page < machine_->page_count; ++page) {
      all.push_back(machine_->word_of_page(page));
    }
    return all;
  }
  /// One sync while the guest writes, then a stop at once: a page that was armed too early or
  /// reported too early would be written again and heal in a longer run.
  void expect_true_mirror(int rounds) {
    auto& mirror = *mirror_;
    ASSERT_OK(ring_->start(mirror));
    mirror.copy_all();
    for (int round = 0; round < rounds; ++round) {
      resume();
      for (int spin = 0; spin < 2000 * (round % 10); ++spin) {
        asm volatile("pause");
      }
      ASSERT_OK(ring_->sync());
      if (round % 2 == 0) {
        mirror.copy_marked();
      }
      pause();
      ASSERT_OK(ring_->sync());
      mirror.copy_marked();
      ASSERT_TRUE(mirror.is_true()) << "round " << round;
    }
    ASSERT_OK(ring_->sync());
    EXPECT_EQ(mirror.copy_marked(), 0U) << "nothing has run since";
    ring_->stop();
  }

  std::unique_ptr<TinyMachine> machine_;
  std::unique_ptr<Mirror> mirror_;  // outlives the ring
  std::unique_ptr<DirtyRing> ring_;
  std::atomic<int> waiting_ = 0;  ///< vCPUs whose ring is full
  std::vector<std::unique_ptr<VcpuThread>> threads_;
};

TEST_F(DirtyRingTest, StartsEmptyAndFindsWhatWasWritten) {
  make(DirtyRing::kDefaultEntries, 1);
  run_for(std::chrono::milliseconds(10));
  auto& sink = *mirror_;
  ASSERT_OK(ring_->start(sink));
  ASSERT_OK(ring_->sync());
  EXPECT_EQ(sink.copy_marked(), 0U) << "an armed ring starts clean";
  for (int round = 0; round < 30; ++round) {
    const auto before = words();
    run_for(std::chrono::microseconds(20 * round));
    const auto after = words();
    ASSERT_OK(ring_->sync());
    std::uint64_t written = 0;
    for (std::size_t page = 0; page < before.size(); ++page) {
      if (before[page] != after[page]) {
        ++written;
        ASSERT_TRUE(sink.marked(page)) << "page " << page << " is missing in round " << round;
      }
    }
    // A stop may fall between the fault that makes a page writable and the write: one page more, no
    // harm.
    ASSERT_LE(sink.copy_marked(), written + 1) << "round " << round;
  }
}

TEST_F(DirtyRingTest, LosesNoWriteWhileTheGuestRuns) {
  make(DirtyRing::kDefaultEntries, 1);
  expect_true_mirror(100);
}

TEST_F(DirtyRingTest, LosesNoWriteWithManyVcpusAndFullRings) {
  make(kSmallRing, 4);
  expect_true_mirror(50);
}

// The promise word by word: what was written before the call is marked on return, with the guest
// running on. A vCPU's own ring, or a processor's log of modified pages, may still hold it back.
TEST_F(DirtyRingTest, WriteThatEndedBeforeSyncIsMarkedOnReturn) {
  make(DirtyRing::kDefaultEntries, 2, 64);
  auto& sink = *mirror_;
  ASSERT_OK(ring_->start(sink));
  resume();
  std::uint64_t changes = 0;
  auto last = words();
  for (int round = 0; round < 200; ++round) {
    auto seen = words();
    while (seen == last) {  // the guest may not have run since
      std::this_thread::yield();
      seen = words();
    }
    ASSERT_OK(ring_->sync());
    for (std::size_t page = 0; page < seen.size(); ++page) {
      if (seen[page] != last[page]) {
        ++changes;
        ASSERT_TRUE(sink.marked(page)) << "page " << page << " round " << round;
      }
    }
    // Marks are cleared before the words are read: a full queue marks at once, so the mark of a
    // write that comes after the reading must not be cleared any more.
    sink.copy_marked();
    last = words();
  }
  EXPECT_GT(changes, 0U);
  pause();
}

TEST_F(DirtyRingTest, FullRingStopsAVcpuUntilTheReaperHasEmptiedIt) {
  make(kSmallRing, 2);
  auto& mirror = *mirror_;
  // The reaper is held up until a ring is full: by itself it is faster than vCPUs that are
  // emulated. It comes here when the queue is full, since nobody takes from it.
  mirror.after_copy = [this] {
    if (ring_->figures().full_waits < 20) {
      waiting_.wait(0);
    }
  };
  ASSERT_OK(ring_->start(mirror));
  mirror.copy_all();
  resume();
  while (ring_->figures().full_waits < 20) {
    std::this_thread::yield();
  }
  // They come back by themselves, without any sync.
  const auto entries = ring_->figures().entries;
  while (ring_->figures().entries < entries + 10 * kSmallRing) {
    std::this_thread::yield();
  }
  pause();
  ASSERT_OK(ring_->sync());
  mirror.copy_marked();
  EXPECT_TRUE(mirror.is_true());
}

// A page that the reaper publishes must be armed by then: a page that is read and written once more
// before its reset is lost. The sink gives the guest time for that write, and stops it before it
// writes the page again and so makes good for it.
TEST_F(DirtyRingTest, PageIsArmedWhenItIsPublished) {
  make(kSmallRing, 2);
  std::atomic<int> copies = 0;
  mirror_->after_copy = [&] {
    const int copied = ++copies;
    if (copied % 128 == 0 && copied <= static_cast<int>(kSmallRing)) {
      const auto until = monotonic_ns() + 300'000;
      while (monotonic_ns() < until) {
      }
    }
    if (copied == static_cast<int>(kSmallRing)) {
      for (auto& thread : threads_) {
        thread->request_pause();
      }
    }
  };
  ASSERT_OK(ring_->start(*mirror_));
  mirror_->copy_all();
  for (int round = 0; round < 60; ++round) {
    copies = 0;
    resume();
    for (auto& thread : threads_) {
      ASSERT_OK(thread->wait_paused());
    }
    ASSERT_OK(ring_->sync());
    ASSERT_TRUE(mirror_->is_true()) << "round " << round;
  }
}

TEST_F(DirtyRingTest, NothingIsDroppedWhenTheQueueIsFull) {
  make(kSmallRing, 1);
  auto& mirror = *mirror_;
  ASSERT_OK(ring_->start(mirror));
  resume();
  // Nobody takes from the queue until the sync.
  while (ring_->figures().overflows < 1000) {
    std::this_thread::yield();
  }
  pause();
  ASSERT_OK(ring_->sync());
  mirror.copy_marked();
  EXPECT_TRUE(mirror.is_true());
}

TEST_F(DirtyRingTest, StopsAndStartsAgainClean) {
  make(kSmallRing, 2);
  auto& sink = *mirror_;
  EXPECT_EQ(ring_->sync().error().code, ErrorCode::kState);
  for (int round = 0; round < 5; ++round) {
    ASSERT_OK(ring_->start(sink));
    EXPECT_EQ(ring_->start(sink).error().code, ErrorCode::kState);
    EXPECT_TRUE(machine_->vm.dirty_logging(0));
    resume();
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    ring_->stop();  // while the guest runs and vCPUs may wait for a reset
    ring_->stop();
    EXPECT_FALSE(machine_->vm.dirty_logging(0));
    // Without anybody who empties rings, no vCPU is stopped by one.
    const auto waits = ring_->figures().full_waits;
    for (const auto before = words(); words() == before;) {
      std::this_thread::yield();
    }
    EXPECT_LE(ring_->figures().full_waits, waits + 2) << "a wait at most that stop() met";
    pause();
    sink.copy_marked();
    ASSERT_OK(ring_->start(sink));
    ASSERT_OK(ring_->sync());
    EXPECT_EQ(sink.copy_marked(), 0U) << "writes from before start() are not this one's";
    ring_->stop();
  }
  EXPECT_STREQ(ring_->name(), "ring");
  expect_true_mirror(10);
}

TEST_F(DirtyRingTest, IsDestroyedWhileTheGuestRuns) {
  make(kSmallRing, 2);
  auto& sink = *mirror_;
  ASSERT_OK(ring_->start(sink));
  resume();
  std::this_thread::sleep_for(std::chrono::milliseconds(2));
  threads_.clear();
}

TEST_F(DirtyRingTest, RefusesWhatTheKernelRefuses) {
  const auto system = System::open();
  ASSERT_OK(system);
  auto vm = Vm::create(*system);
  ASSERT_OK(vm);
  EXPECT_EQ(DirtyRing::enable(*system, *vm, 1000).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(DirtyRing::enable(*system, *vm, 1U << 30).error().code, ErrorCode::kInvalidArgument);
  auto vcpu = Vcpu::create(*system, *vm, 0);
  ASSERT_OK(vcpu);
  EXPECT_EQ(DirtyRing::enable(*system, *vm, kSmallRing).error().code, ErrorCode::kInvalidArgument)
      << "a vCPU exists";
  const std::span<const Vcpu> vcpus(&*vcpu, 1);
  EXPECT_EQ(DirtyRing::create(*vm, vcpus, nullptr).error().code, ErrorCode::kState);
}

}  // namespace
}  // namespace godwit::kvm
