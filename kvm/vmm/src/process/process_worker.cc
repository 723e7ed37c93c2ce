#include "process/process_worker.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <string>

#include <fmt/format.h>

#include "godwit/base/clock.h"
#include "godwit/base/thread.h"

namespace godwit::vmm {

ProcessWorker::ProcessWorker(const WorkerShared& shared, std::uint32_t vcpu)
    : shared_(shared), vcpu_(vcpu) {
  for (std::size_t i = 0; i < state_.canaries.size(); ++i) {
    state_.canaries[i] = canary(shared_.plan.params.seed, vcpu_, i);
  }
}

ProcessWorker::~ProcessWorker() {
  stop();
}

std::uint64_t ProcessWorker::canary(std::uint64_t seed, std::uint32_t vcpu, std::size_t index) {
  return guest::mix64(seed ^ ((vcpu + 1ULL) << 32) ^ (index + 1));
}

// ---------------------------------------------------------------------------------- control thread

Status ProcessWorker::start() {
  GODWIT_TRY_ASSIGN(
      thread_,
      try_start_thread(fmt::format("guest/{}", vcpu_), ThreadRole::kGuest, [this] { body(); }));
  return {};
}

void ProcessWorker::request_park() {
  const std::lock_guard lock(mutex_);
  if (wish_ == Wish::kStop) {
    return;
  }
  wish_ = Wish::kPark;
  // Release: pairs with the load in begin_touch(). The mutex orders all that matters; a late look
  // costs one touch.
  interrupt_.store(true, std::memory_order_release);
  changed_.notify_all();
}

void ProcessWorker::go() {
  const std::lock_guard lock(mutex_);
  if (wish_ != Wish::kPark) {
    return;
  }
  wish_ = Wish::kGo;
  entered_ns_ = 0;
  interrupt_.store(false, std::memory_order_release);  // pairs as in request_park()
  changed_.notify_all();
}

std::int64_t ProcessWorker::wait_parked() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return parked_; });
  return parked_ns_;
}

std::int64_t ProcessWorker::entered_ns() const {
  const std::lock_guard lock(mutex_);
  return entered_ns_;
}

void ProcessWorker::stop() {
  {
    const std::lock_guard lock(mutex_);
    wish_ = Wish::kStop;
    interrupt_.store(true, std::memory_order_release);  // pairs as in request_park()
    changed_.notify_all();
  }
  if (thread_.joinable()) {
    thread_.join();
  }
}

// ----------------------------------------------------------------------------- the worker's thread

void ProcessWorker::body() {
  {
    std::unique_lock lock(mutex_);
    if (park(lock) == guest::Gate::kStop) {
      return;
    }
  }
  guest::VcpuWorkload<ProcessWorker> workload(
      shared_.plan.params, vcpu_, block(), state_.workload, *this);
  workload.run();
  const std::lock_guard lock(mutex_);
  parked_ = true;  // for good: an ended worker holds nobody up
  parked_ns_ = monotonic_ns();
  changed_.notify_all();
}

guest::Gate ProcessWorker::park(std::unique_lock<std::mutex>& lock) {
  if (wish_ == Wish::kPark) {
    parked_ns_ = monotonic_ns();
    parked_ = true;
    changed_.notify_all();
    changed_.wait(lock, [this] { return wish_ != Wish::kPark; });
    parked_ = false;
  }
  if (entered_ns_ == 0) {  // also when go() came before the new thread got here
    entered_ns_ = monotonic_ns();
  }
  return wish_ == Wish::kStop ? guest::Gate::kStop : guest::Gate::kParked;
}

std::uint64_t ProcessWorker::now() const {
  return static_cast<std::uint64_t>(monotonic_ns() + counter_offset_ns_);
}

void ProcessWorker::sleep(std::uint64_t ticks) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, std::chrono::nanoseconds(ticks), [this] { return wish_ != Wish::kGo; });
  if (wish_ == Wish::kPark) {
    park(lock);  // here, so that no step is rung between the request and the stop
  }
}

guest::Gate ProcessWorker::begin_touch() {
  // Acquire: pairs with the stores in request_park(), go() and stop().
  if (!interrupt_.load(std::memory_order_acquire)) {
    return guest::Gate::kGo;
  }
  std::unique_lock lock(mutex_);
  return park(lock);
}

PageId ProcessWorker::page_at(std::uint64_t gpa) const {
  const auto& regions = shared_.memory.regions;
  RegionIndex index = 0;
  while (index + 1 < regions.size() && gpa >= regions[index + 1].gpa) {
    ++index;
  }
  return PageId{index, (gpa - regions[index].gpa) >> kPageShift};
}

std::uint64_t* ProcessWorker::words(std::uint64_t gpa) const {
  auto* byte = shared_.memory.page(page_at(gpa)) + gpa % kPageBytes;
  return reinterpret_cast<std::uint64_t*>(byte);
}

guest::VcpuBlock& ProcessWorker::block() const {
  return *reinterpret_cast<guest::VcpuBlock*>(
      words(shared_.plan.params.blocks_gpa + vcpu_ * kPageBytes));
}

void ProcessWorker::wrote(std::uint64_t gpa) {
  shared_.writes.mark(vcpu_, page_at(gpa));
}

void ProcessWorker::check_canaries() {
  for (std::size_t i = 0; i < state_.canaries.size(); ++i) {
    const auto expected = canary(shared_.plan.params.seed, vcpu_, i);
    if (state_.canaries[i] != expected) {
      shared_.steps.guest_error(vcpu_, guest::kErrorCanary, i, expected, state_.canaries[i]);
      state_.canaries[i] = expected;  // told once
    }
  }
}

std::uint32_t ProcessWorker::doorbell(std::uint64_t step,
                                      std::uint64_t counter,
                                      std::uint64_t longest,
                                      std::uint32_t slow_count) {
  StepLog::Doorbell bell;
  bell.step = step;
  bell.counter = counter;
  bell.longest_ticks = longest;
  bell.touches = state_.workload.touches;
  if (slow_count > 0) {
    bell.slow = std::span<const guest::SlowTouch>(block().slow, slow_count);
  }
  bell.stamp_ns = monotonic_ns();
  shared_.steps.doorbell(vcpu_, bell);
  return shared_.control.take_command(vcpu_);
}

void ProcessWorker::filled() {
  state_.filled = true;
  shared_.control.set_filled(vcpu_);
}

void ProcessWorker::report_error(std::uint32_t kind,
                                 std::uint64_t page,
                                 std::uint64_t expected,
                                 std::uint64_t found) {
  shared_.steps.guest_error(vcpu_, kind, shared_.plan.data_page + page, expected, found);
}

void ProcessWorker::sweep_done(std::uint64_t checked,
                               std::uint64_t mismatches,
                               std::uint64_t first_bad_page) {
  auto bad = shared_.plan.data_page + first_bad_page;
  // The workload goes by the host's copy of the parameters, so that damage to the guest's cannot
  // crash this process; but the guest's must have arrived as well, and so must the vCPU's block.
  const auto wrong = [&](std::uint64_t page, const char* what) {
    shared_.steps.guest_error(fmt::format("vcpu {}: page {} is damaged: {}", vcpu_, page, what));
    bad = mismatches == 0 ? page : std::min(bad, page);
    ++mismatches;
  };
  if (std::memcmp(
          words(shared_.plan.params_gpa), &shared_.plan.params, sizeof shared_.plan.params) != 0) {
    wrong(shared_.plan.params_page, "the workload's parameters");
  }
  if (block().magic != guest::kBlockMagic || block().vcpu != vcpu_) {
    wrong(shared_.plan.blocks_page + vcpu_, "the vCPU's block");
  }
  shared_.control.done(vcpu_, checked, mismatches, bad);
}

}  // namespace godwit::vmm
