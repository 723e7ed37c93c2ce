#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "godwit/base/result.h"
#include "godwit/kvm/vcpu_state.h"

namespace godwit::kvm {

/// How many bytes a record may have.
struct SizeRule {
  std::size_t min = 0;
  std::size_t max = 0;
  std::size_t step = 1;  ///< from `min` on
  [[nodiscard]] constexpr bool allows(std::size_t bytes) const {
    return bytes >= min && bytes <= max && (bytes - min) % step == 0;
  }
};

struct KvmCall {
  unsigned long request = 0;
  const char* name = "";
};

/// One record of a vCPU's state: what it may look like, and how it is taken and put back.
struct StateRecord {
  using Bytes = std::vector<std::byte>;

  VcpuState::Record record;
  const char* name;
  SizeRule size;
  /// The kernel's calls, where get() and set() need to be told.
  KvmCall get_call = {};
  KvmCall set_call = {};
  /// Reads it from a parked vCPU.
  Status (*get)(const StateRecord& row,
                const Vcpu& vcpu,
                const MsrPlan& plan,
                Bytes& bytes) = nullptr;
  /// Puts it into a vCPU that has not run. Requires: flaw() and check() found nothing.
  Status (*set)(const StateRecord& row, Vcpu& vcpu, const Bytes& bytes, TscShift& shift) = nullptr;
  /// What is wrong with bytes of a size that the rule allows; null where nothing can be, and its
  /// result where nothing is.
  const char* (*flaw)(std::span<const std::byte> bytes) = nullptr;
  /// Whether this host can take it; null: every host can. Errors: kRefused with what is in the way.
  Status (*check)(const StateRecord& row,
                  const Bytes& bytes,
                  const System& system,
                  const Vcpu& vcpu) = nullptr;
};

/// All records, each once, in the order of a restore.
std::span<const StateRecord> state_records();

}  // namespace godwit::kvm
