#include "godwit/kvm/vcpu_thread.h"

#include <pthread.h>
#include <signal.h>

#include <cerrno>
#include <chrono>
#include <vector>

#include <fmt/format.h>

#include "godwit/base/clock.h"
#include "godwit/base/thread.h"

#include "uapi.h"

// How a vCPU is stopped without a race
//
// A vCPU's thread is either inside KVM_RUN or between two of them. A flag alone does not stop the
// first, a signal alone is lost on the second: it may arrive just after the flag was read and just
// before KVM_RUN is entered. So the signal's handler sets `immediate_exit` in the run page of its
// own thread's vCPU. Then wherever the signal falls:
//   - inside KVM_RUN the pending signal ends it with EINTR;
//   - between reading the flag and KVM_RUN, the kernel sees immediate_exit and comes straight back
//     with EINTR;
//   - before the flag is read, the flag (set before the signal was sent) is seen.
// The thread clears immediate_exit *before* it reads the flag; the other order would wipe out a
// stop that has come in between. A signal left over from an earlier pause costs one empty round,
// nothing else.
//
// Completing exits: the kernel finishes an exit (here: moves the instruction pointer past the OUT)
// only when KVM_RUN is entered the next time. State read before that would be of the middle of an
// instruction. So before parking the thread enters once more with immediate_exit set, which
// completes the exit and runs no guest instruction.
//
// Leaving the guest without a pause (request_leave): `turn_` is odd while the thread is inside
// KVM_RUN. Whoever finds it even has nothing to wait for. Whoever finds it odd signals and waits
// until it changes: the signal comes after the odd value was stored, so it falls inside KVM_RUN or
// just before it (immediate_exit is set, KVM_RUN comes straight back), or the vCPU has left by
// then. A thread that meanwhile clears immediate_exit for the next entry has changed `turn_`
// before.

namespace godwit::kvm {
namespace {

// Read by the signal handler of its own thread.
// NOLINTNEXTLINE(cppcoreguidelines-avoid-non-const-global-variables)
thread_local kvm_run* current_run = nullptr;

void on_kick(int) {
  if (kvm_run* run = current_run; run != nullptr) {
    // Pairs with clear_immediate_exit() of the same thread; seq_cst keeps the compiler from moving
    // either.
    __atomic_store_n(&run->immediate_exit, std::uint8_t{1}, __ATOMIC_SEQ_CST);
  }
}

int kick_signal() {
  return SIGRTMIN + 1;
}

Status install_kick_handler() {
  // Once a process; the result is kept for later threads.
  static const int failed = [] {
    struct sigaction action {};
    action.sa_handler = on_kick;
    ::sigemptyset(&action.sa_mask);
    return ::sigaction(kick_signal(), &action, nullptr) == 0 ? 0 : errno;
  }();
  if (failed != 0) {
    return fail_errno(failed, "sigaction", "the signal that stops a vCPU");
  }
  return {};
}

void set_immediate_exit(kvm_run& run, std::uint8_t value) {
  // Pairs with the handler's store: see the essay above for the order against the flag.
  __atomic_store_n(&run.immediate_exit, value, __ATOMIC_SEQ_CST);
}

}  // namespace

Result<std::unique_ptr<VcpuThread>> VcpuThread::start(Vcpu& vcpu,
                                                      OnExit on_exit,
                                                      OnFailure on_failure,
                                                      OnRingFull on_ring_full) {
  GODWIT_TRY(install_kick_handler());
  std::unique_ptr<VcpuThread> self(
      new VcpuThread(vcpu, std::move(on_exit), std::move(on_failure), std::move(on_ring_full)));
  GODWIT_TRY_ASSIGN(self->thread_,
                    try_start_thread(fmt::format("vcpu-{}", vcpu.index()),
                                     ThreadRole::kGuest,
                                     [raw = self.get()] { raw->body(); }));
  // Parked before anybody may kick: the thread has announced its run page to the handler by then.
  GODWIT_TRY(self->wait_paused());
  return self;
}

VcpuThread::~VcpuThread() {
  {
    const std::lock_guard lock(mutex_);
    // Pairs with the load in run_until_unwanted(): set before the signal is sent.
    want_.store(Want::kEnd, std::memory_order_seq_cst);
  }
  kick();
}

void VcpuThread::kick() {
  changed_.notify_all();
  if (thread_.joinable()) {
    ::pthread_kill(thread_.native_handle(), kick_signal());
  }
}

Status VcpuThread::resume() {
  {
    const std::lock_guard lock(mutex_);
    if (!failure_) {
      return failure_;
    }
    if (want_.load(std::memory_order_relaxed) == Want::kRun) {
      return {};
    }
    // Pairs with the acquire loads of the readers: whoever sees 0 sees a vCPU that has not been
    // entered yet.
    entered_ns_.store(0, std::memory_order_release);
    want_.store(Want::kRun, std::memory_order_seq_cst);
  }
  changed_.notify_all();
  return {};
}

void VcpuThread::request_pause() {
  {
    const std::lock_guard lock(mutex_);
    if (want_.load(std::memory_order_relaxed) != Want::kRun) {
      return;
    }
    want_.store(Want::kPark, std::memory_order_seq_cst);
  }
  kick();
}

Status VcpuThread::wait_paused() {
  std::unique_lock lock(mutex_);
  // A thread that has not woken up yet since resume() is still parked; what is wanted decides then.
  changed_.wait(lock,
                [this] { return parked_ && want_.load(std::memory_order_relaxed) != Want::kRun; });
  return failure_;
}

std::uint32_t VcpuThread::request_leave() {
  // acquire: pairs with the release in enter_guest(), should the vCPU be outside already. seq_cst
  // is not needed: a vCPU that enters after this load has been outside at it.
  const auto turn = turn_.load(std::memory_order_acquire);
  if (turn % 2 != 0) {
    ::pthread_kill(thread_.native_handle(), kick_signal());
  }
  return turn;
}

void VcpuThread::wait_left(std::uint32_t ticket) const {
  if (ticket % 2 != 0) {
    // acquire: pairs with the release in enter_guest().
    turn_.wait(ticket, std::memory_order_acquire);
  }
}

void leave_guest(std::span<const std::unique_ptr<VcpuThread>> threads) {
  std::vector<std::uint32_t> tickets;
  tickets.reserve(threads.size());
  for (const auto& thread : threads) {
    tickets.push_back(thread->request_leave());
  }
  for (std::size_t i = 0; i < threads.size(); ++i) {
    threads[i]->wait_left(tickets[i]);
  }
}

void VcpuThread::wake() {
  {
    const std::lock_guard lock(mutex_);
    woken_ = true;
  }
  changed_.notify_all();
}

void VcpuThread::sleep_until(std::int64_t deadline_ns) {
  std::unique_lock lock(mutex_);
  const auto until = std::chrono::steady_clock::time_point(std::chrono::nanoseconds(deadline_ns));
  changed_.wait_until(lock, until, [this] {
    return woken_ || want_.load(std::memory_order_relaxed) != Want::kRun;
  });
  woken_ = false;
  left_ns_.store(monotonic_ns(), std::memory_order_release);
}

void VcpuThread::body() {
  current_run = &vcpu_.run_page();
  sigset_t kick_set;
  ::sigemptyset(&kick_set);
  ::sigaddset(&kick_set, kick_signal());
  ::pthread_sigmask(SIG_UNBLOCK, &kick_set, nullptr);

  std::unique_lock lock(mutex_);
  for (;;) {
    parked_ = true;
    changed_.notify_all();
    changed_.wait(lock, [this] { return want_.load(std::memory_order_relaxed) != Want::kPark; });
    if (want_.load(std::memory_order_relaxed) == Want::kEnd) {
      break;
    }
    parked_ = false;
    lock.unlock();
    Status done = run_until_unwanted();
    if (!done && on_failure_) {
      on_failure_(done.error());
    }
    lock.lock();
    if (!done) {
      failure_ = std::move(done);
    }
    if (want_.load(std::memory_order_relaxed) == Want::kRun) {
      want_.store(Want::kPark, std::memory_order_relaxed);
    }
  }
  lock.unlock();
  current_run = nullptr;
}

Result<RunOutcome> VcpuThread::enter_guest() {
  // acq_rel, both: pairs with the loads in request_leave() and wait_left(). An even value tells
  // that all the vCPU did inside has happened.
  turn_.fetch_add(1, std::memory_order_acq_rel);
  auto outcome = vcpu_.run();
  turn_.fetch_add(1, std::memory_order_acq_rel);
  turn_.notify_all();
  return outcome;
}

Status VcpuThread::run_until_unwanted() {
  kvm_run& run = vcpu_.run_page();
  bool exit_pending = false;
  auto next = Next::kRun;
  while (next == Next::kRun) {
    set_immediate_exit(run, 0);
    // Pairs with the stores in request_pause() and the destructor; seq_cst keeps it after the line
    // above.
    if (want_.load(std::memory_order_seq_cst) != Want::kRun) {
      break;
    }
    if (entered_ns_.load(std::memory_order_relaxed) == 0) {
      entered_ns_.store(monotonic_ns(), std::memory_order_release);
    }
    GODWIT_TRY_ASSIGN(const auto outcome, enter_guest());
    const auto now = monotonic_ns();
    left_ns_.store(now, std::memory_order_release);
    exit_pending = outcome == RunOutcome::kExit;
    if (exit_pending && on_ring_full_ && run.exit_reason == KVM_EXIT_DIRTY_RING_FULL) {
      // KVM comes back before it enters the guest, again and again until the ring is reset. The
      // exit before has been completed on the way in, and this one needs no completion.
      exit_pending = false;
      GODWIT_TRY(on_ring_full_());
    } else if (exit_pending) {
      GODWIT_TRY_ASSIGN(next, on_exit_(*this, vcpu_, now));
    }
  }
  if (exit_pending) {
    set_immediate_exit(run, 1);
    GODWIT_TRY_ASSIGN(const auto completed, vcpu_.run());
    if (completed != RunOutcome::kInterrupted) {
      return fail(ErrorCode::kInternal, "KVM_RUN", "an exit did not complete in one entry");
    }
  }
  return {};
}

}  // namespace godwit::kvm
