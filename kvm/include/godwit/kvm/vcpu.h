#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "godwit/base/fd.h"
#include "godwit/base/result.h"
#include "godwit/kvm/system.h"
#include "godwit/kvm/vm.h"

struct kvm_run;

namespace godwit::kvm {

/// How a KVM_RUN ended.
enum class RunOutcome : std::uint8_t {
  kExit = 1,     ///< the run page says why
  kInterrupted,  ///< by a signal or immediate_exit; all earlier exits are completed
};

/// Unmaps a run page.
struct UnmapRunPage {
  std::size_t bytes = 0;
  void operator()(kvm_run* run) const;
};

/// One virtual CPU: its descriptor and its run page, with the host's supported CPUID set.
/// Thread: one at a time; the kernel locks a vCPU against two. Ownership: moves only.
class Vcpu {
 public:
  /// Errors: kUnsupported, kPermission, kNoMemory, kIo.
  static Result<Vcpu> create(const System& system, const Vm& vm, std::uint32_t index);

  /// Runs the guest until something needs the VMM.
  /// Errors: those of KVM_RUN; EFAULT says that guest memory could not be reached (a userfaultfd
  /// that serves user faults only, or a hole in the mappings).
  Result<RunOutcome> run();

  /// Gives the guest another CPUID (kvm_cpuid2) than create() did. Requires: the vCPU has not run.
  /// Errors: kIo.
  Status set_cpuid(std::span<const std::byte> cpuid);
  /// The guest's CPUID as it was set: the kernel's own answer mixes in bits of the present state
  /// and of the host.
  [[nodiscard]] const std::vector<std::byte>& cpuid() const { return cpuid_; }

  [[nodiscard]] kvm_run& run_page() const { return *run_; }
  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] int vm_fd() const { return vm_fd_; }
  [[nodiscard]] std::uint32_t index() const { return index_; }
  /// Frequency of the guest's time stamp counter. Errors: kIo, kUnsupported when the host does not
  /// know.
  [[nodiscard]] Result<std::uint32_t> tsc_khz() const;
  /// What the guest would read from its time stamp counter now. Errors: kIo, kUnsupported.
  [[nodiscard]] Result<std::uint64_t> tsc() const;

 private:
  Vcpu(Fd fd, int vm_fd, std::uint32_t index) : fd_(std::move(fd)), vm_fd_(vm_fd), index_(index) {}

  Fd fd_;
  int vm_fd_ = -1;
  std::uint32_t index_ = 0;
  std::vector<std::byte> cpuid_;
  std::unique_ptr<kvm_run, UnmapRunPage> run_;
};

}  // namespace godwit::kvm
