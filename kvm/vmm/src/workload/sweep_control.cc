#include "workload/sweep_control.h"

#include <algorithm>
#include <chrono>

namespace godwit::vmm {

SweepControl::SweepControl(std::uint32_t vcpus) : vcpus_(vcpus) {}

std::uint32_t SweepControl::take_command(std::uint32_t vcpu) {
  const std::lock_guard lock(mutex_);
  if (stopping_) {
    return guest::kCommandStop;
  }
  if (vcpus_[vcpu].asked) {
    vcpus_[vcpu].asked = false;
    return guest::kCommandSweep;
  }
  return guest::kCommandNone;
}

void SweepControl::set_filled(std::uint32_t vcpu) {
  const std::lock_guard lock(mutex_);
  vcpus_[vcpu].filled = true;
  changed_.notify_all();
}

void SweepControl::done(std::uint32_t vcpu,
                        std::uint64_t checked,
                        std::uint64_t mismatches,
                        std::uint64_t first_bad_page) {
  const std::lock_guard lock(mutex_);
  if (vcpus_[vcpu].swept || vcpus_[vcpu].asked) {
    // This belongs to an earlier sweep that timed out or was migrated away. The present one will
    // send its own report.
    return;
  }
  if (mismatches > 0) {
    result_.first_bad_page =
        result_.mismatches == 0 ? first_bad_page : std::min(result_.first_bad_page, first_bad_page);
  }
  result_.pages_checked += checked;
  result_.mismatches += mismatches;
  vcpus_[vcpu].swept = true;
  changed_.notify_all();
}

bool SweepControl::all(bool Vcpu::*flag) const {
  return std::all_of(vcpus_.begin(), vcpus_.end(), [flag](const Vcpu& vcpu) { return vcpu.*flag; });
}

bool SweepControl::filled() const {
  const std::lock_guard lock(mutex_);
  return all(&Vcpu::filled);
}

bool SweepControl::filled(std::uint32_t vcpu) const {
  const std::lock_guard lock(mutex_);
  return vcpus_[vcpu].filled;
}

bool SweepControl::wait(std::unique_lock<std::mutex>& lock, Deadline deadline, bool Vcpu::*flag) {
  const auto ready = [this, flag] { return all(flag) || stopping_; };
  if (deadline.at_ns == Deadline::never().at_ns) {
    changed_.wait(lock, ready);
  } else {
    changed_.wait_for(lock, std::chrono::nanoseconds(deadline.left_ns()), ready);
  }
  return all(flag);
}

Result<SweepResult> SweepControl::run(Deadline deadline,
                                      const WorkloadPlan& plan,
                                      const engine::GuestMemory& memory,
                                      engine::PopulatedScan& populated) {
  SweepResult result;
  {
    std::unique_lock lock(mutex_);
    if (!wait(lock, deadline, &Vcpu::filled)) {
      return fail(stopping_ ? ErrorCode::kState : ErrorCode::kTimeout,
                  "sweep",
                  "the guest has not filled its memory");
    }
    result_ = SweepResult{};
    for (auto& vcpu : vcpus_) {
      vcpu.asked = true;
      vcpu.swept = false;
    }
    if (!wait(lock, deadline, &Vcpu::swept)) {
      return fail(
          stopping_ ? ErrorCode::kState : ErrorCode::kTimeout,
          "sweep",
          "the guest did not finish checking its memory; does it run, do its pages arrive?");
    }
    result = result_;
  }
  result.pages_expected = plan.total_pages - plan.data_page;
  GODWIT_TRY(check_holes(plan, memory, populated, result));
  return result;
}

void SweepControl::request_stop() {
  const std::lock_guard lock(mutex_);
  stopping_ = true;
  changed_.notify_all();
}

}  // namespace godwit::vmm
