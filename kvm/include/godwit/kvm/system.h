#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "godwit/base/fd.h"
#include "godwit/base/result.h"

namespace godwit::kvm {

/// The host's KVM: /dev/kvm, opened and checked for all that the rest of this library needs.
/// Thread: any after open(). Ownership: the descriptor; moves only.
class System {
 public:
  /// Errors: kUnsupported (no device, wrong API version, a capability is missing: named, with what
  /// to do), kPermission (the device is forbidden to this user). Kernel: 5.14 (SREGS2 is the newest
  /// that is required); XSAVE2 (5.17) is used where present.
  static Result<System> open(const char* path = "/dev/kvm");

  [[nodiscard]] int fd() const { return fd_.get(); }
  /// Bytes of a vCPU's shared run page mapping.
  [[nodiscard]] std::size_t run_bytes() const { return run_bytes_; }
  /// KVM_CHECK_EXTENSION: 0 = absent, other values depend on the capability.
  [[nodiscard]] int extension(int capability) const;
  /// How many slots a machine may have (KVM_CAP_NR_MEMSLOTS).
  [[nodiscard]] std::uint32_t memslots_max() const;
  /// Bits of a guest-physical address, by the CPUID below.
  [[nodiscard]] unsigned physical_bits() const;
  /// The CPUID that this host can give a guest, as the kernel's kvm_cpuid2: header and entries in
  /// one buffer.
  [[nodiscard]] const std::vector<std::byte>& supported_cpuid() const { return cpuid_; }
  /// Numbers of the model-specific registers that the host's KVM can save.
  [[nodiscard]] const std::vector<std::uint32_t>& msr_indices() const { return msrs_; }
  /// Whether the guest's CPUID offers AVX together with XSAVE.
  [[nodiscard]] bool has_avx() const;

 private:
  explicit System(Fd fd) : fd_(std::move(fd)) {}
  [[nodiscard]] Status check_capabilities() const;
  struct CpuidLeaf {
    std::uint32_t eax = 0;
    std::uint32_t ecx = 0;
  };
  [[nodiscard]] std::optional<CpuidLeaf> cpuid_leaf(std::uint32_t function) const;
  Status load_cpuid();
  Status load_msr_indices();

  Fd fd_;
  std::size_t run_bytes_ = 0;
  std::vector<std::byte> cpuid_;
  std::vector<std::uint32_t> msrs_;
};

/// Why KVM cannot be used by this process, or an empty string.
std::string unusable_reason(const char* path = "/dev/kvm");

}  // namespace godwit::kvm
