#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "godwit/base/result.h"
#include "godwit/kvm/system.h"
#include "godwit/kvm/vcpu.h"

namespace godwit::kvm {

/// Which model-specific registers a vCPU's state holds. Made once, so that the blackout probes
/// nothing.
struct MsrPlan {
  std::vector<std::uint32_t> saved;       ///< in the order in which they are restored
  std::vector<std::uint32_t> unreadable;  ///< listed by the kernel, but this vCPU has them not
  /// Clocks and counters of the host, and Hyper-V's registers: see excluded_msr() in msrs.cc.
  std::vector<std::uint32_t> excluded;
};

/// Asks which listed registers this vCPU has. Cost: one system call, and one more for each that it
/// has not.
Result<MsrPlan> plan_msrs(const System& system, const Vcpu& vcpu);

/// A register that can be left out of a restore, to test that the guest would notice.
struct StateRegister {
  enum class Kind : std::uint8_t { kGeneral = 1, kXmm, kYmmHigh, kX87, kFsBase, kGsBase };
  Kind kind = Kind::kGeneral;
  unsigned number = 0;  ///< r8..r15 as 8..15; xmm 0..15; st 0..7; 0 for bases
};

/// How much larger the counter of the source's host is than that of this one, for all vCPUs of a
/// machine: made by the restore of the first, used by those of the others, so that their counters
/// keep the relation that they had.
struct TscShift {
  std::optional<std::uint64_t> ticks;
};

/// Everything that makes a vCPU, outside of guest memory: CPUID, general, segment, control, debug
/// and vector registers, XCR0, model-specific registers, pending events, run state and the time
/// stamp counter. Not in it, because a machine without an interrupt controller or paravirtual clock
/// has none: LAPIC, KVM clock. Thread: a plain value; capture() and restore() need the vCPU parked.
class VcpuState {
 public:
  /// Records of an encoded state. A value never changes its meaning; the payload is the kernel's
  /// own structure.
  enum class Record : std::uint16_t {
    kCpuid = 1,  ///< kvm_cpuid2
    kRegs,       ///< kvm_regs
    kSregs,      ///< kvm_sregs2
    kXsave,      ///< the XSAVE area, 4 KiB or what KVM_CAP_XSAVE2 says
    kXcrs,       ///< kvm_xcrs
    kMsrs,       ///< pairs of u64: number, value
    kEvents,     ///< kvm_vcpu_events
    kDebugRegs,  ///< kvm_debugregs
    kMpState,    ///< kvm_mp_state
    kTsc,        ///< u64 counter, i64 CLOCK_REALTIME ns, u64 kHz, u64 offset, u64 offset known
  };
  static constexpr std::size_t kRecordKinds = 10;
  static constexpr std::size_t kMaxEncodedBytes = 256U << 10;

  /// Requires: the vCPU is parked, its last exit completed. Errors: kIo, kUnsupported.
  /// Cost: about ten system calls; several allocations.
  static Result<VcpuState> capture(const Vcpu& vcpu, const MsrPlan& plan);

  /// Whether this host can take the state; changes nothing.
  /// Errors: kRefused with the CPU feature, register or clock rate that is in the way.
  Status check(const System& system, const Vcpu& vcpu) const;

  /// Puts the state into a vCPU that has not run yet. Requires: check() was fine;
  /// `shift` is empty for the first vCPU of a machine and the same object for the others.
  /// Errors: kIo naming what the kernel refused; the vCPU is unusable then.
  Status restore(Vcpu& vcpu, TscShift& shift) const;

  /// Versioned, little-endian. Guarantees: decode(encode()) is the same state.
  [[nodiscard]] std::vector<std::byte> encode() const;
  /// Errors: kRefused for a wrong magic, version, length, a record unknown, missing or doubled, or
  /// bytes left over.
  static Result<VcpuState> decode(std::span<const std::byte> bytes);

  /// Puts one register to its reset value, as if restore() had forgotten it. For the test of the
  /// tests.
  void forget(StateRegister which);
  /// The value that forget() takes away: the low 64 bits of the register.
  [[nodiscard]] std::uint64_t value(StateRegister which) const;

  /// The time stamp counter when the state was captured.
  [[nodiscard]] std::uint64_t tsc() const;

  friend bool operator==(const VcpuState&, const VcpuState&) = default;

 private:
  [[nodiscard]] std::vector<std::byte>& record(Record kind) {
    return records_[static_cast<std::size_t>(kind) - 1];
  }
  [[nodiscard]] const std::vector<std::byte>& record(Record kind) const {
    return records_[static_cast<std::size_t>(kind) - 1];
  }
  [[nodiscard]] std::span<const std::byte> location(StateRegister which) const;

  std::array<std::vector<std::byte>, kRecordKinds> records_;
};

/// "r12", "xmm3", "fs base".
std::string register_name(StateRegister which);

}  // namespace godwit::kvm
