#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <vector>

#include "godwit/vmm/guest.h"

#include "workload/workload_plan.h"

namespace godwit::vmm {

/// Talks to the vCPUs' workloads: hands out commands at their doorbells, collects what they say of
/// fill and sweep. Thread: take_command(), set_filled() and done() from vCPU threads; the rest from
/// the control thread.
class SweepControl {
 public:
  explicit SweepControl(std::uint32_t vcpus);

  /// The answer to a doorbell: a guest::kCommand..., each sweep given to each vCPU once.
  std::uint32_t take_command(std::uint32_t vcpu);
  void set_filled(std::uint32_t vcpu);
  /// `first_bad_page` counts memory pages.
  void done(std::uint32_t vcpu,
            std::uint64_t checked,
            std::uint64_t mismatches,
            std::uint64_t first_bad_page);

  [[nodiscard]] bool filled() const;
  [[nodiscard]] bool filled(std::uint32_t vcpu) const;
  /// Waits for the fill, has every vCPU sweep its slice, and adds the holes.
  /// Requires: the vCPUs run. Errors: kTimeout; the vCPUs may still be sweeping then, harmlessly.
  Result<SweepResult> run(Deadline deadline,
                          const WorkloadPlan& plan,
                          const engine::GuestMemory& memory,
                          engine::PopulatedScan& populated);
  /// Every doorbell from here on is answered with stop.
  void request_stop();

 private:
  struct Vcpu {
    bool filled = false;
    bool asked = false;  ///< a sweep was asked for and not handed out yet
    bool swept = true;
  };
  bool wait(std::unique_lock<std::mutex>& lock, Deadline deadline, bool Vcpu::*flag);
  [[nodiscard]] bool all(bool Vcpu::*flag) const;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Vcpu> vcpus_;
  SweepResult result_;
  bool stopping_ = false;
};

}  // namespace godwit::vmm
