#include "armed_slots.h"

#include <linux/kvm.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <set>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "godwit/base/units.h"
#include "godwit/engine/atomic_bitmap.h"
#include "godwit/engine/mark_run.h"
#include "godwit/kvm/dirty_bitmap_log.h"
#include "godwit/kvm/dirty_ring.h"
#include "godwit/kvm/vcpu_thread.h"

#include "support/require_kvm.h"
#include "tiny_machine.h"

namespace godwit::kvm {
namespace {

constexpr std::uint64_t kGuestPages = 32768;
constexpr std::uint64_t kSlotPages = 1024;

/// Marks, from any thread: a dirty ring's reaper marks too when its queue is full.
class Marks final : public engine::DirtySink {
 public:
  void mark(RegionIndex /*region*/, std::uint64_t word, std::uint64_t mask) override {
    marks_.set(word, mask);
  }
  std::set<std::uint64_t> take() {
    std::set<std::uint64_t> pages;
    marks_.harvest([&pages](std::uint64_t word, std::uint64_t bits) {
      engine::for_each_run(word, bits, [&pages](std::uint64_t first, std::uint64_t count) {
        for (auto page = first; page < first + count; ++page) {
          pages.insert(page);
        }
      });
    });
    return pages;
  }

 private:
  engine::AtomicBitmap marks_{TinyMachine::kFirstDataPage + kGuestPages};
};

/// Which pages of anonymous memory exist, for tests: none of them is ever swapped.
class ResidentScan final : public engine::PopulatedScan {
 public:
  ResidentScan(std::byte* memory, std::uint64_t pages) : memory_(memory), pages_(pages) {}

  Status scan(const std::function<void(PageRun)>& found) override {
    for (PageRun run{0, 0, 0}; run.first < pages_; run.first = run.end()) {
      GODWIT_TRY_ASSIGN(run, next({0, run.first, pages_ - run.first}));
      if (run.count == 0) {
        break;
      }
      found(run);
    }
    return {};
  }
  Result<std::uint64_t> first(PageRun within) override {
    GODWIT_TRY_ASSIGN(const auto run, next(within));
    return run.first;
  }
  Result<PageRun> next(PageRun within) override {
    std::vector<unsigned char> resident(within.count);
    EXPECT_EQ(::mincore(memory_ + (within.first << kPageShift), within.bytes(), resident.data()),
              0);
    ++asked;
    PageRun run{0, within.end(), 0};
    for (std::uint64_t i = 0; i < within.count; ++i) {
      const auto page = within.first + i;
      if ((resident[i] & 1U) != 0 && !(page >= hidden_first && page < hidden_end)) {
        run.first = std::min(run.first, page);
        ++run.count;
      } else if (run.count != 0) {
        break;
      }
    }
    return run;
  }

  std::uint64_t asked = 0;
  std::uint64_t hidden_first = 0;  ///< pages that it wrongly takes for empty
  std::uint64_t hidden_end = 0;

 private:
  std::byte* memory_;
  std::uint64_t pages_;
};

class ArmedSlotsTest : public ::testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    GODWIT_NEED_KVM();
    const bool ring = GetParam();
    auto machine = TinyMachine::create(
        kGuestPages,
        0,
        60,
        {.vcpus = 1, .ring_entries = ring ? 65536U : 0U, .slot_pages = kSlotPages});
    ASSERT_OK(machine);
    machine_ = std::move(*machine);
    ASSERT_EQ(::madvise(machine_->memory.data(), machine_->memory.size(), MADV_NOHUGEPAGE), 0);
    scan_ = std::make_unique<ResidentScan>(machine_->memory.data(), machine_->page_count);
    DirtyRing* rings = nullptr;
    if (ring) {
      auto made = DirtyRing::create(
          machine_->vm,
          machine_->vcpus,
          [this] {
            const auto ticket = thread_->request_leave();
            thread_->wait_left(ticket);
          },
          scan_.get());
      ASSERT_OK(made);
      rings = made->get();
      source_ = std::move(*made);
    } else {
      source_ = std::make_unique<DirtyBitmapLog>(machine_->vm, scan_.get());
    }
    auto thread = VcpuThread::start(
        *machine_->vcpu,
        [](VcpuThread&, Vcpu&, std::int64_t) -> Result<VcpuThread::Next> {
          return fail(ErrorCode::kGuest, "test", "unexpected exit");
        },
        nullptr,
        rings == nullptr ? VcpuThread::OnRingFull() : [rings] { return rings->wait_reset(); });
    ASSERT_OK(thread);
    thread_ = std::move(*thread);
  }
  void TearDown() override {
    thread_.reset();
    source_.reset();
  }
  void run_for(std::chrono::microseconds time) {
    ASSERT_OK(thread_->resume());
    std::this_thread::sleep_for(time);
    thread_->request_pause();
    ASSERT_OK(thread_->wait_paused());
  }
  [[nodiscard]] std::uint32_t logging() const {
    std::uint32_t count = 0;
    for (std::uint32_t slot = 0; slot < machine_->vm.memslot_count(); ++slot) {
      count += machine_->vm.dirty_logging(slot) ? 1 : 0;
    }
    return count;
  }
  /// Follows a guest that fills its memory, from the first page on; returns how many pages of the
  /// copy are wrong in the end.
  std::uint64_t wrong_pages_of_a_followed_guest() {
    std::vector<std::byte> mirror(machine_->memory.size());
    Marks sink;
    EXPECT_TRUE(source_->start(sink));
    EXPECT_TRUE(scan_->scan([&](PageRun run) { engine::mark_run(sink, run); }));
    const auto copy_marked = [&] {
      for (const auto page : sink.take()) {
        std::memcpy(mirror.data() + (page << kPageShift),
                    machine_->memory.data() + (page << kPageShift),
                    kPageBytes);
      }
    };
    for (int round = 0; round < 20; ++round) {
      EXPECT_TRUE(thread_->resume());
      std::this_thread::sleep_for(std::chrono::microseconds(50 * round));
      EXPECT_TRUE(source_->sync());
      copy_marked();
      thread_->request_pause();
      EXPECT_TRUE(thread_->wait_paused());
      if (round % 3 == 0) {
        EXPECT_TRUE(source_->sync());
        copy_marked();
      }
    }
    EXPECT_TRUE(source_->sync());
    copy_marked();
    std::uint64_t wrong = 0;
    for (std::size_t at = 0; at < mirror.size(); at += kPageBytes) {
      wrong +=
          std::memcmp(mirror.data() + at, machine_->memory.data() + at, kPageBytes) != 0 ? 1 : 0;
    }
    return wrong;
  }

  std::unique_ptr<TinyMachine> machine_;
  std::unique_ptr<ResidentScan> scan_;
  std::unique_ptr<engine::DirtySource> source_;
  std::unique_ptr<VcpuThread> thread_;
};

TEST_P(ArmedSlotsTest, SlotsWithoutAPageDoNotLogAndCostOneQuestion) {
  Marks sink;
  ASSERT_OK(source_->start(sink));
  // The program's slot; its memory reaches into the next one by nothing.
  EXPECT_EQ(logging(), 1U);
  scan_->asked = 0;
  ASSERT_OK(source_->sync());
  EXPECT_EQ(scan_->asked, 1U) << "neighbours are asked about together";
  EXPECT_TRUE(sink.take().empty());
  // One page of one slot, written as another mapping of a file could be.
  machine_->memory.data()[(20 * kSlotPages + 5) << kPageShift] = std::byte{1};
  ASSERT_OK(source_->sync());
  EXPECT_EQ(logging(), 2U);
  EXPECT_EQ(sink.take(), (std::set<std::uint64_t>{20 * kSlotPages + 5}));
  scan_->asked = 0;
  ASSERT_OK(source_->sync());
  EXPECT_EQ(scan_->asked, 2U) << "a stretch at either side of it";
  source_->stop();
  EXPECT_EQ(logging(), 0U);
}

TEST_P(ArmedSlotsTest, LosesNoWriteOfAGuestThatGrows) {
  EXPECT_EQ(wrong_pages_of_a_followed_guest(), 0U);
  EXPECT_GT(logging(), 1U);
}

// The test of the test: a slot that is wrongly taken for empty must be noticed.
TEST_P(ArmedSlotsTest, ASlotWronglyTakenForEmptyIsNoticed) {
  scan_->hidden_first = 8 * kSlotPages;
  scan_->hidden_end = 9 * kSlotPages;
  EXPECT_GT(wrong_pages_of_a_followed_guest(), 0U);
}

TEST_P(ArmedSlotsTest, WritesOfTheMachineItselfAreMarked) {
  Marks sink;
  machine_->vm.note_written({0, 700});  // before the start: the scan finds it
  ASSERT_OK(source_->start(sink));
  ASSERT_OK(source_->sync());
  EXPECT_TRUE(sink.take().empty());
  machine_->vm.note_written({0, 701});
  ASSERT_OK(source_->sync());
  EXPECT_EQ(sink.take(), (std::set<std::uint64_t>{701}));
}

INSTANTIATE_TEST_SUITE_P(Sources, ArmedSlotsTest, ::testing::Bool(), [](const auto& ring) {
  return ring.param ? "Ring" : "Log";
});

}  // namespace
}  // namespace godwit::kvm
