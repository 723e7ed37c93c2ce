#include "policy/cpu_share.h"

namespace godwit::engine {

CpuRank CpuShare::rank(bool guest_waits) const {
  switch (priority_) {
    case CpuPriority::kAuto:
      return raised_ ? CpuRank::kAhead : CpuRank::kBeside;
    case CpuPriority::kGuest:
      return guest_waits ? CpuRank::kBeside : CpuRank::kBehind;
    case CpuPriority::kFair:
      return CpuRank::kBeside;
    case CpuPriority::kMigration:
      return CpuRank::kAhead;
  }
  return CpuRank::kBeside;
}

CpuRank CpuShare::on_sample(const CpuSample& sample) {
  const auto window = sample.now_ns - began_ns_;
  if (window >= kWindowNs) {
    const bool first = began_ns_ == 0;
    const auto waited = first ? 0 : sample.waited_ns - waited_ns_;
    starved_ns_ = waited * 2 > window ? starved_ns_ + window : 0;
    const bool in_vain = sample.guest_waits || !sample.shrinks;
    if ((in_vain && waited * 4 > window) || starved_ns_ >= kPatienceNs) {
      raised_ = true;
    }
    began_ns_ = sample.now_ns;
    waited_ns_ = sample.waited_ns;
  }
  return rank(sample.guest_waits);
}

}  // namespace godwit::engine
