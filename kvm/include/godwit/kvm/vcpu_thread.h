#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <thread>

#include "godwit/base/result.h"
#include "godwit/kvm/vcpu.h"

namespace godwit::kvm {

/// A thread that runs one vCPU. It starts parked.
///
/// | state   | resume() | request_pause()                  | ~VcpuThread |
/// |---------|----------|----------------------------------|-------------|
/// | parked  | running  | parked                           | ended       |
/// | running | running  | parked once the vCPU has left    | ended       |
/// | failed  | error    | failed (counts as parked)        | ended       |
///
/// Guarantees: a parked vCPU has completed every exit, so that its state can be saved.
/// Thread: all calls except those marked otherwise from one controlling thread at a time.
class VcpuThread {
 public:
  enum class Next : std::uint8_t { kRun = 1, kPark };
  /// Handles an exit on the vCPU's thread; `exit_ns` is CLOCK_MONOTONIC just after the guest was
  /// left. kPark parks the vCPU until resume(); an error makes the thread fail.
  using OnExit = std::function<Result<Next>(VcpuThread&, Vcpu&, std::int64_t exit_ns)>;

  /// Hears of the error that the thread fails with, on the vCPU's thread.
  using OnFailure = std::function<void(const Error&)>;

  /// Waits, on the vCPU's thread, until the vCPU's full dirty ring has been reset; it must not need
  /// any vCPU for that. An error makes the thread fail.
  using OnRingFull = std::function<Status()>;

  /// Requires: `vcpu` outlives the thread and is used by nobody else while it runs.
  /// Without `on_ring_full` a full dirty ring is an exit like any other.
  /// Errors: kIo when the signal that stops a vCPU cannot be installed.
  static Result<std::unique_ptr<VcpuThread>> start(Vcpu& vcpu,
                                                   OnExit on_exit,
                                                   OnFailure on_failure,
                                                   OnRingFull on_ring_full = nullptr);
  /// Pauses and joins. A vCPU that waits for a page of a userfaultfd must get it (or the
  /// userfaultfd must be closed) first: before kernel 6.2 such a wait cannot be interrupted.
  ~VcpuThread();
  VcpuThread(const VcpuThread&) = delete;
  VcpuThread& operator=(const VcpuThread&) = delete;

  /// Lets the vCPU run; returns at once. Errors: the one that the thread failed with.
  Status resume();
  /// Asks the vCPU to park; returns at once.
  void request_pause();
  /// Waits until the vCPU is parked. Errors: the one that the thread failed with.
  Status wait_paused();
  /// Makes the vCPU leave the guest, from which it comes back by itself; returns at once, with the
  /// ticket for wait_left(). Thread: any, while the thread lives.
  std::uint32_t request_leave();
  /// Guarantees: the vCPU has been outside the guest since the request_leave() that gave `ticket`;
  /// what it did before is visible to the caller. Thread: any, while the thread lives.
  void wait_left(std::uint32_t ticket) const;
  /// Cuts a sleep_until() of the exit handler short, so that it sees a new command. Thread: any.
  void wake();

  /// For the exit handler: waits until CLOCK_MONOTONIC `deadline_ns`, a pause or a wake().
  /// The guest sleeps at its own wish, which counts as running until a pause takes it out.
  void sleep_until(std::int64_t deadline_ns);

  /// CLOCK_MONOTONIC ns of the first entry since the last resume(); 0 = not yet entered. Thread:
  /// any.
  [[nodiscard]] std::int64_t entered_ns() const {
    return entered_ns_.load(std::memory_order_acquire);
  }
  /// CLOCK_MONOTONIC ns when the guest was left for the last time before parking. Thread: any, once
  /// parked.
  [[nodiscard]] std::int64_t left_ns() const { return left_ns_.load(std::memory_order_acquire); }

 private:
  enum class Want : std::uint8_t { kPark = 1, kRun, kEnd };

  VcpuThread(Vcpu& vcpu, OnExit on_exit, OnFailure on_failure, OnRingFull on_ring_full)
      : vcpu_(vcpu),
        on_exit_(std::move(on_exit)),
        on_failure_(std::move(on_failure)),
        on_ring_full_(std::move(on_ring_full)) {}
  void body();
  Status run_until_unwanted();
  Result<RunOutcome> enter_guest();
  void kick();

  Vcpu& vcpu_;
  OnExit on_exit_;
  OnFailure on_failure_;
  OnRingFull on_ring_full_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  // Written under mutex_. The vCPU's thread reads it without the mutex between two entries: see
  // run_until_unwanted().
  std::atomic<Want> want_{Want::kPark};
  bool parked_ = false;  // guarded by mutex_
  bool woken_ = false;   // guarded by mutex_
  Status failure_;       // guarded by mutex_
  std::atomic<std::int64_t> entered_ns_{0};
  std::atomic<std::int64_t> left_ns_{0};
  std::atomic<std::uint32_t> turn_{0};  ///< odd while the vCPU is inside KVM_RUN
  std::jthread thread_;
};

/// Makes all of them leave the guest, side by side.
/// Guarantees: each has been outside the guest since the call. Thread: any, while they live.
void leave_guest(std::span<const std::unique_ptr<VcpuThread>> threads);

}  // namespace godwit::kvm
