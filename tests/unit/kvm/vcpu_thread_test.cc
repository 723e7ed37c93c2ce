#include "godwit/kvm/vcpu_thread.h"

#include <linux/kvm.h>
#include <sys/ioctl.h>

#include <atomic>
#include <thread>

#include <gtest/gtest.h>

#include "godwit/base/clock.h"
#include "godwit/base/random.h"

#include "support/require_kvm.h"
#include "tiny_machine.h"

namespace godwit::kvm {
namespace {

constexpr std::uint64_t kThreadPages = 256;

/// Waits without a time limit of its own: ctest ends a test that hangs.
void wait_for(const std::atomic<std::uint64_t>& value, std::uint64_t least) {
  for (auto seen = value.load(std::memory_order_acquire); seen < least;
       seen = value.load(std::memory_order_acquire)) {
    value.wait(seen, std::memory_order_acquire);
  }
}

class CountingThread {
 public:
  Status start(TinyMachine& machine) {
    GODWIT_TRY_ASSIGN(
        thread_,
        VcpuThread::start(
            *machine.vcpu,
            [this](VcpuThread&, Vcpu& vcpu, std::int64_t) -> Result<VcpuThread::Next> {
              if (vcpu.run_page().exit_reason != KVM_EXIT_IO) {
                return fail(ErrorCode::kGuest, "test", "unexpected exit");
              }
              exits.fetch_add(1, std::memory_order_release);
              exits.notify_all();
              return VcpuThread::Next::kRun;
            },
            nullptr));
    return {};
  }
  VcpuThread* operator->() const { return thread_.get(); }

  std::atomic<std::uint64_t> exits{0};

 private:
  std::unique_ptr<VcpuThread> thread_;
};

class Pausing : public ::testing::TestWithParam<unsigned> {};

TEST_P(Pausing, ThousandTimesUnderLoadLosesNoWrite) {
  GODWIT_NEED_KVM();
  auto machine = TinyMachine::create(kThreadPages, 0, GetParam());
  ASSERT_OK(machine);
  CountingThread thread;
  ASSERT_OK(thread.start(**machine));
  SplitMix64 random(GetParam());
  std::uint64_t last = 0;
  for (int round = 0; round < 1000; ++round) {
    const auto before = monotonic_ns();
    ASSERT_OK(thread->resume());
    // Sometimes at once, so that the kick falls before, at and after the entry.
    for (auto spin = random.below(3) == 0 ? 0 : random.below(20'000); spin > 0; --spin) {
      asm volatile("pause");
    }
    thread->request_pause();
    ASSERT_OK(thread->wait_paused());
    const auto writes = (*machine)->writes();
    ASSERT_GE(writes, last);
    last = writes;
    if (thread->entered_ns() != 0) {
      ASSERT_GE(thread->entered_ns(), before);
    }
  }
  EXPECT_GT(last, 0U);
  // Every exit was completed: each count of the guest that should ring has rung exactly once.
  EXPECT_EQ(thread.exits.load(std::memory_order_acquire), last >> GetParam());
}

// 60: the guest never leaves by itself, so that a kick that gets lost hangs the test.
INSTANTIATE_TEST_SUITE_P(ExitsOften, Pausing, ::testing::Values(0U, 4U, 14U, 60U));

TEST(VcpuThread, LeavesTheGuestWhenAskedAndComesBack) {
  GODWIT_NEED_KVM();
  // A guest that never leaves by itself: a request that gets lost hangs the test.
  auto machine = TinyMachine::create(kThreadPages, 0, 60);
  ASSERT_OK(machine);
  CountingThread thread;
  ASSERT_OK(thread.start(**machine));
  thread->wait_left(thread->request_leave());  // parked: nothing to wait for
  ASSERT_OK(thread->resume());
  SplitMix64 random(7);
  std::uint32_t inside = 0;
  for (int round = 0; round < 200; ++round) {
    const auto ticket = thread->request_leave();
    inside += ticket % 2;
    thread->wait_left(ticket);
    for (auto spin = random.below(5'000); spin > 0; --spin) {
      asm volatile("pause");
    }
  }
  EXPECT_GT(inside, 0U);
  thread->request_pause();
  ASSERT_OK(thread->wait_paused());
  EXPECT_GT((*machine)->writes(), 0U);
  EXPECT_EQ(thread.exits.load(std::memory_order_acquire), 0U) << "the exit handler is not asked";
}

TEST(VcpuThread, IsParkedBetweenExitsForever) {
  GODWIT_NEED_KVM();
  // A guest that practically never leaves by itself: only the kick brings it back.
  auto machine = TinyMachine::create(kThreadPages, 0, 60);
  ASSERT_OK(machine);
  CountingThread thread;
  ASSERT_OK(thread.start(**machine));
  ASSERT_OK(thread->resume());
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  thread->request_pause();
  ASSERT_OK(thread->wait_paused());
  EXPECT_GT((*machine)->writes(), 0U);
  EXPECT_LE(thread->entered_ns(), thread->left_ns());
  EXPECT_EQ(thread.exits.load(std::memory_order_acquire), 0U);
}

TEST(VcpuThread, CompletesAnExitBeforeItParks) {
  GODWIT_NEED_KVM();
  auto machine = TinyMachine::create(kThreadPages, 0, 4);
  ASSERT_OK(machine);
  auto thread = VcpuThread::start(
      *(*machine)->vcpu,
      [](VcpuThread&, Vcpu& vcpu, std::int64_t) -> Result<VcpuThread::Next> {
        // An answer that the handler gives reaches the vCPU only when the exit is completed.
        auto& run = vcpu.run_page();
        run.s.regs.regs.r12 += 1;
        run.kvm_dirty_regs = KVM_SYNC_X86_REGS;
        return VcpuThread::Next::kPark;
      },
      nullptr);
  ASSERT_OK(thread);
  const auto r12 = [&] {
    kvm_regs regs{};
    return ::ioctl((*machine)->vcpu->fd(), KVM_GET_REGS, &regs) == 0 ? regs.r12 : 0;
  };
  const auto before = r12();
  for (std::uint64_t round = 1; round <= 10; ++round) {
    ASSERT_OK((*thread)->resume());
    ASSERT_OK((*thread)->wait_paused());
    ASSERT_EQ(r12(), before + round);
    ASSERT_EQ((*machine)->writes(), round * 16);
  }
}

TEST(VcpuThread, CanBeDestroyedWhileRunning) {
  GODWIT_NEED_KVM();
  auto machine = TinyMachine::create(kThreadPages, 0, 60);
  ASSERT_OK(machine);
  CountingThread thread;
  ASSERT_OK(thread.start(**machine));
  ASSERT_OK(thread->resume());
}

TEST(VcpuThread, ReportsAFailingHandlerAndStaysFailed) {
  GODWIT_NEED_KVM();
  auto machine = TinyMachine::create(kThreadPages, 0, 4);
  ASSERT_OK(machine);
  std::atomic<std::uint64_t> failures{0};
  auto thread = VcpuThread::start(
      *(*machine)->vcpu,
      [](VcpuThread&, Vcpu&, std::int64_t) -> Result<VcpuThread::Next> {
        return fail(ErrorCode::kGuest, "handler", "planted");
      },
      [&](const Error&) {
        failures.fetch_add(1, std::memory_order_release);
        failures.notify_all();
      });
  ASSERT_OK(thread);
  ASSERT_OK((*thread)->resume());
  wait_for(failures, 1);
  (*thread)->request_pause();
  const auto paused = (*thread)->wait_paused();
  ASSERT_FALSE(paused.has_value());
  EXPECT_EQ(paused.error().code, ErrorCode::kGuest);
  EXPECT_FALSE((*thread)->resume().has_value());
  EXPECT_EQ(failures.load(std::memory_order_acquire), 1U);
}

TEST(VcpuThread, SleepEndsEarlyWhenPaused) {
  GODWIT_NEED_KVM();
  auto machine = TinyMachine::create(kThreadPages, 0, 4);
  ASSERT_OK(machine);
  std::atomic<std::uint64_t> sleeping{0};
  constexpr std::int64_t kHour = 3'600'000'000'000;
  auto thread = VcpuThread::start(
      *(*machine)->vcpu,
      [&](VcpuThread& self, Vcpu&, std::int64_t exit_ns) -> Result<VcpuThread::Next> {
        sleeping.fetch_add(1, std::memory_order_release);
        sleeping.notify_all();
        self.sleep_until(exit_ns + kHour);
        return VcpuThread::Next::kRun;
      },
      nullptr);
  ASSERT_OK(thread);
  for (std::uint64_t round = 1; round <= 20; ++round) {
    ASSERT_OK((*thread)->resume());
    wait_for(sleeping, round);
    (*thread)->request_pause();
    ASSERT_OK((*thread)->wait_paused());
    EXPECT_EQ((*machine)->writes(), round * 16) << "the exit was not completed";
  }
  ASSERT_OK((*thread)->resume());
  wait_for(sleeping, 21);
  (*thread)->wake();
  wait_for(sleeping, 22);
}

}  // namespace
}  // namespace godwit::kvm
