#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "godwit/base/result.h"
#include "godwit/kvm/vcpu.h"

namespace godwit::kvm {

/// One model-specific register as it is encoded.
struct MsrValue {
  std::uint64_t number = 0;
  std::uint64_t value = 0;
};
static_assert(sizeof(MsrValue) == 16);

inline constexpr std::uint32_t kMsrTsc = 0x10;
inline constexpr std::uint32_t kMsrTscDeadline = 0x6E0;

/// Reads registers in order and stops at the first that the vCPU has not: `values` is shorter then.
Result<std::vector<MsrValue>> read_msrs(const Vcpu& vcpu, std::span<const std::uint32_t> numbers);

/// Writes one register. Returns false when the vCPU has it not or refuses the value.
Result<bool> write_msr(const Vcpu& vcpu, MsrValue msr);

/// Writes those registers of a fresh vCPU that hold another value. Errors: kIo naming the register
/// that the vCPU has not, or whose value it refuses.
Status restore_msrs(const Vcpu& vcpu, std::span<const MsrValue> wanted);

/// Whether a register belongs to the host or runs by itself, so that saving it would be wrong.
bool excluded_msr(std::uint32_t number);

}  // namespace godwit::kvm
