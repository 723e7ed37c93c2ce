#include "godwit/kvm/vcpu.h"

#include <sys/mman.h>

#include <cerrno>

#include <fmt/format.h>

#include "uapi.h"

namespace godwit::kvm {

void UnmapRunPage::operator()(kvm_run* run) const {
  ::munmap(run, bytes);
}

Result<Vcpu> Vcpu::create(const System& system, const Vm& vm, std::uint32_t index) {
  Fd fd(::ioctl(vm.fd(), KVM_CREATE_VCPU, static_cast<unsigned long>(index)));
  if (!fd.valid()) {
    return fail_errno(errno, "KVM_CREATE_VCPU", fmt::format("vCPU {}", index));
  }
  Vcpu vcpu(std::move(fd), vm.fd(), index);
  void* run = ::mmap(nullptr, system.run_bytes(), PROT_READ | PROT_WRITE, MAP_SHARED, vcpu.fd(), 0);
  if (run == MAP_FAILED) {
    return fail_errno(errno, "mmap run page", fmt::format("vCPU {}", index));
  }
  vcpu.run_ = std::unique_ptr<kvm_run, UnmapRunPage>(static_cast<kvm_run*>(run),
                                                     UnmapRunPage{system.run_bytes()});
  // General registers come with every exit: one ioctl less for each doorbell.
  vcpu.run_->kvm_valid_regs = KVM_SYNC_X86_REGS;
  // Before any other state: the kernel checks XSAVE, XCR0 and model-specific registers against it.
  GODWIT_TRY(vcpu.set_cpuid(system.supported_cpuid()));
  return vcpu;
}

Status Vcpu::set_cpuid(std::span<const std::byte> cpuid) {
  if (::ioctl(fd_.get(), uapi::kSetCpuid2, cpuid.data()) != 0) {
    return fail_errno(errno, "KVM_SET_CPUID2", fmt::format("vCPU {}", index_));
  }
  cpuid_.assign(cpuid.begin(), cpuid.end());
  return {};
}

Result<RunOutcome> Vcpu::run() {
  if (::ioctl(fd_.get(), KVM_RUN, 0) == 0) {
    return RunOutcome::kExit;
  }
  if (errno == EINTR || errno == EAGAIN) {
    return RunOutcome::kInterrupted;
  }
  if (errno == EFAULT) {
    return fail_errno(EFAULT,
                      "KVM_RUN",
                      "guest memory could not be reached; a userfaultfd made with "
                      "UFFD_USER_MODE_ONLY cannot serve KVM");
  }
  return fail_errno(errno, "KVM_RUN");
}

Result<std::uint32_t> Vcpu::tsc_khz() const {
  const int khz = ::ioctl(fd_.get(), KVM_GET_TSC_KHZ, 0);
  if (khz < 0) {
    return fail_errno(errno, "KVM_GET_TSC_KHZ");
  }
  if (khz == 0) {
    return fail(
        ErrorCode::kUnsupported, "KVM_GET_TSC_KHZ", "the host's time stamp counter is not stable");
  }
  return static_cast<std::uint32_t>(khz);
}

}  // namespace godwit::kvm
