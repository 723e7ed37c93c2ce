#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>

#include "common/instrumented_source.h"
#include "guest/workload.h"
#include "workload/step_log.h"
#include "workload/sweep_control.h"
#include "workload/workload_plan.h"

namespace godwit::vmm {

/// What all workers of a process guest share. Ownership: the guest's; outlives the workers.
struct WorkerShared {
  const WorkloadPlan& plan;
  const engine::GuestMemory& memory;
  StepLog& steps;
  SweepControl& control;
  InstrumentedSource& writes;
};

/// Everything of a worker that is not memory: what registers are to a vCPU.
struct WorkerState {
  static constexpr std::size_t kCanaries = 4;
  guest::WorkloadState workload{};
  std::uint64_t generation_sum = 0;
  std::array<std::uint64_t, kCanaries> canaries{};
  bool filled = false;
};

/// One worker thread of a process guest: its vCPU. It is also the Platform of guest::VcpuWorkload.
/// Parking is cooperative, between touches and in sleeps. Thread: control calls from one thread at
/// a time.
class ProcessWorker {
 public:
  ProcessWorker(const WorkerShared& shared, std::uint32_t vcpu);
  ~ProcessWorker();
  ProcessWorker(const ProcessWorker&) = delete;
  ProcessWorker& operator=(const ProcessWorker&) = delete;

  /// Makes the thread, parked, so that go() only has to wake it. Requires: no thread yet.
  Status start();
  /// Asks the worker to park / to go on.
  void request_park();
  void go();
  /// Waits until it is parked; its memory and state are visible to the caller then. Returns its
  /// last instant.
  std::int64_t wait_parked();
  /// When it first went on after the last go(); 0 = not yet.
  [[nodiscard]] std::int64_t entered_ns() const;
  /// Ends the thread. Requires: SweepControl::request_stop(), and nobody withholds a page that the
  /// worker waits for.
  void stop();

  /// Value of a canary that is intact.
  static std::uint64_t canary(std::uint64_t seed, std::uint32_t vcpu, std::size_t index);

  /// Requires: parked or not started.
  [[nodiscard]] const WorkerState& state() const { return state_; }
  void set_state(const WorkerState& state) { state_ = state; }
  /// Added to CLOCK_MONOTONIC to give the guest's counter. Requires: parked or not started.
  void set_counter_offset(std::int64_t offset_ns) { counter_offset_ns_ = offset_ns; }

  // The platform of guest::VcpuWorkload, called by the worker's own thread.
  [[nodiscard]] std::uint64_t now() const;
  void sleep(std::uint64_t ticks);
  guest::Gate begin_touch();
  [[nodiscard]] std::uint64_t* words(std::uint64_t gpa) const;
  void wrote(std::uint64_t gpa);
  [[nodiscard]] std::uint64_t generation_sum() const { return state_.generation_sum; }
  void set_generation_sum(std::uint64_t sum) { state_.generation_sum = sum; }
  void check_canaries();
  std::uint32_t doorbell(std::uint64_t step,
                         std::uint64_t counter,
                         std::uint64_t longest,
                         std::uint32_t slow_count);
  void filled();
  void report_error(std::uint32_t kind,
                    std::uint64_t page,
                    std::uint64_t expected,
                    std::uint64_t found);
  void sweep_done(std::uint64_t checked, std::uint64_t mismatches, std::uint64_t first_bad_page);

 private:
  enum class Wish { kPark, kGo, kStop };

  void body();
  guest::Gate park(std::unique_lock<std::mutex>& lock);
  [[nodiscard]] PageId page_at(std::uint64_t gpa) const;
  [[nodiscard]] guest::VcpuBlock& block() const;

  const WorkerShared shared_;
  const std::uint32_t vcpu_;
  WorkerState state_;  ///< the worker's while it runs, the control thread's while it is parked
  std::int64_t counter_offset_ns_ = 0;

  /// Fast path of begin_touch(): whether `wish_` may be other than kGo.
  std::atomic<bool> interrupt_{true};
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  Wish wish_ = Wish::kPark;
  bool parked_ = false;
  std::int64_t parked_ns_ = 0;
  std::int64_t entered_ns_ = 0;
  std::jthread thread_;
};

}  // namespace godwit::vmm
