#include "policy/switch_policy.h"

#include "godwit/base/units.h"

namespace godwit::engine {

bool repeats_barrier(const BarrierEnd& end) {
  // So few cost the blackout little; and a guest that writes too fast is not waited for.
  constexpr std::uint64_t kUnmapsAtSwitch = 256;
  constexpr std::uint64_t kMaxBarriers = 4;
  return end.target_maps && end.newly_pending_pages > kUnmapsAtSwitch &&
         end.barriers_sent < kMaxBarriers;
}

bool fits_downtime(const SourceOptions& options, const RoundEnd& end) {
  if (end.pending_pages == 0) {
    return true;
  }
  if (end.bytes_per_s <= 0) {
    return false;
  }
  const double seconds = static_cast<double>(end.pending_pages * kPageBytes) / end.bytes_per_s;
  return seconds * 1e9 <= static_cast<double>(options.downtime_limit_ns);
}

Verdict judge_round(const SourceOptions& options, const RoundEnd& end) {
  switch (options.mode) {
    case Mode::kPostcopy:
      return Verdict::kSwitchLive;
    case Mode::kStopAndCopy:
      return Verdict::kSwitchPaused;
    case Mode::kHybrid: {
      const bool stalled =
          end.previous_pending_pages != 0 && end.pending_pages >= end.previous_pending_pages;
      return end.switch_requested || end.target_maps || end.pending_pages == 0 ||
                     end.rounds_done >= options.switch_after_rounds || stalled
                 ? Verdict::kSwitchLive
                 : Verdict::kNextRound;
    }
    case Mode::kPrecopy:
      if (fits_downtime(options, end) || end.switch_requested) {
        return Verdict::kSwitchPaused;
      }
      if (end.rounds_done >= options.max_rounds) {
        return options.on_no_convergence == OnNoConvergence::kForce ? Verdict::kSwitchPaused
                                                                    : Verdict::kGiveUp;
      }
      return Verdict::kNextRound;
  }
  return Verdict::kGiveUp;
}

}  // namespace godwit::engine
