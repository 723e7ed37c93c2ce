#include "policy/switch_policy.h"

#include <algorithm>

namespace godwit::engine {
namespace {

/// A guest may work elsewhere for a round or two; more than that is how it is.
constexpr std::uint32_t kStalledRounds = 4;

double per_s(std::uint64_t pages, std::int64_t ns) {
  return ns > 0 ? static_cast<double>(pages) * 1e9 / static_cast<double>(ns) : 0;
}

SwitchReason reason_to_end_hybrid(const SourceOptions& options, const RoundEnd& end) {
  if (end.switch_requested) {
    return SwitchReason::kRequested;
  }
  if (end.pending_pages == 0) {
    return SwitchReason::kNothingLeft;
  }
  if (end.rounds_done >= options.switch_after_rounds) {
    return SwitchReason::kRounds;
  }
  if (end.target_maps) {
    return SwitchReason::kTargetMaps;
  }
  const bool stalled =
      end.previous_pending_pages != 0 && end.pending_pages >= end.previous_pending_pages;
  return stalled ? SwitchReason::kNotShrinking : SwitchReason::kNone;
}

Judgement judge_precopy(const SourceOptions& options, const RoundEnd& end) {
  if (end.switch_requested) {
    return {Verdict::kSwitchPaused, SwitchReason::kRequested};
  }
  if (end.blackout_ns && *end.blackout_ns <= options.downtime_limit_ns) {
    return {Verdict::kSwitchPaused, SwitchReason::kFits};
  }
  const bool over = end.rounds_done >= options.max_rounds || end.stalled_rounds >= kStalledRounds ||
                    (end.pending_pages == 0 && end.blackout_ns);
  if (!over) {
    return {};
  }
  return {options.on_no_convergence == OnNoConvergence::kForce ? Verdict::kSwitchPaused
                                                               : Verdict::kGiveUp,
          SwitchReason::kNotConverging};
}

}  // namespace

bool repeats_barrier(const BarrierEnd& end) {
  // So few cost the blackout little; and a guest that writes too fast is not waited for.
  constexpr std::uint64_t kUnmapsAtSwitch = 256;
  constexpr std::uint64_t kMaxBarriers = 4;
  return end.target_maps && end.newly_pending_pages > kUnmapsAtSwitch &&
         end.barriers_sent < kMaxBarriers;
}

Judgement judge_round(const SourceOptions& options, const RoundEnd& end) {
  switch (options.mode) {
    case Mode::kPostcopy:
      return {Verdict::kSwitchLive, SwitchReason::kMode};
    case Mode::kStopAndCopy:
      return {Verdict::kSwitchPaused, SwitchReason::kMode};
    case Mode::kHybrid: {
      const auto reason = reason_to_end_hybrid(options, end);
      return {reason == SwitchReason::kNone ? Verdict::kNextRound : Verdict::kSwitchLive, reason};
    }
    case Mode::kPrecopy:
      return judge_precopy(options, end);
  }
  return {Verdict::kGiveUp, SwitchReason::kNone};
}

void Convergence::note(const RoundReport& round, std::uint64_t pending_pages) {
  shrinks_ = pending_pages < round.pages;
  const bool less = !least_ || static_cast<double>(pending_pages) <
                                   0.95 * static_cast<double>(*least_);
  stalled_rounds_ = less ? 0 : stalled_rounds_ + 1;
  least_ = std::min(least_.value_or(pending_pages), pending_pages);
}

double moved_per_s(const RoundReport& round) {
  return per_s(round.pages, round.ns);
}

double dirtied_per_s(const RoundReport& round) {
  return per_s(round.dirtied_pages, round.ns);
}

}  // namespace godwit::engine
