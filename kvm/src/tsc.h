#pragma once

#include <cstdint>
#include <optional>

#include "godwit/base/result.h"
#include "godwit/kvm/vcpu.h"
#include "godwit/kvm/vcpu_state.h"

namespace godwit::kvm {

/// A vCPU's time stamp counter as it is encoded.
struct TscRecord {
  std::uint64_t counter;
  std::int64_t realtime_ns;    ///< CLOCK_REALTIME when the counter was read
  std::uint64_t khz;           ///< the guest's rate
  std::uint64_t offset;        ///< what the kernel adds to the host's counter, at the guest's rate
  std::uint64_t offset_known;  ///< 1, or 0 where the kernel does not tell
};
static_assert(sizeof(TscRecord) == 40);

/// Reads the counter of a parked vCPU. Cost: up to eight system calls.
Result<TscRecord> read_tsc(const Vcpu& vcpu);

/// Whether two rates are one, as far as clocks of hosts of one model are.
bool same_tsc_rate(std::uint64_t a, std::uint64_t b);

/// Lets the counter of a vCPU that has not run yet go on from `saved`, as if it had run meanwhile.
/// `shift` is empty for the first vCPU of a machine and serves all of them: see tsc.cc.
/// Errors: kIo when the kernel refuses rate or counter.
Status restore_tsc(const Vcpu& vcpu, const TscRecord& saved, TscShift& shift);

}  // namespace godwit::kvm
