#pragma once

#include <cstdint>
#include <optional>

#include "godwit/engine/options.h"
#include "godwit/engine/report.h"

namespace godwit::engine {

/// What the end of a round says.
struct RoundEnd {
  std::uint32_t rounds_done = 0;
  std::uint64_t pending_pages = 0;           ///< dirtied meanwhile
  std::uint64_t previous_pending_pages = 0;  ///< at the end of the round before; 0 = none
  std::uint32_t stalled_rounds = 0;          ///< see Convergence
  /// Of a blackout that carries the rest, see blackout_forecast.h; absent: nothing was measured yet.
  std::optional<std::int64_t> blackout_ns = std::nullopt;
  bool switch_requested = false;
  bool target_maps = false;  ///< the target maps pages as it places them: see judge_round()
};

enum class Verdict : std::uint8_t { kNextRound = 1, kSwitchLive, kSwitchPaused, kGiveUp };

struct Judgement {
  Verdict verdict = Verdict::kNextRound;
  SwitchReason reason = SwitchReason::kNone;
};

/// Decides after each pre-copy round. Hybrid switches after its rounds, when the dirty set stops
/// shrinking or on request, since its blackout carries no pages; precopy stops the guest when the
/// blackout fits the downtime limit. It does not converge when the rest has not become less for
/// several rounds, when nothing is left and what no round can lessen is over the limit, or after its
/// last round. Where the target maps pages as it places them, a page that is sent and then written
/// must be unmapped again there, so hybrid sends no page twice before the switch: pages written
/// during the first round travel after it.
Judgement judge_round(const SourceOptions& options, const RoundEnd& end);

/// What the end of a barrier says, with the guest still running.
struct BarrierEnd {
  std::uint64_t barriers_sent = 0;        ///< in this switch, this one included
  std::uint64_t newly_pending_pages = 0;  ///< the target had them until the last sync
  bool target_maps = false;               ///< as in RoundEnd
};

/// Whether another sync and barrier go before the guest stops. Where the target maps pages as it
/// places them, each page that becomes old must be unmapped there, in the blackout if it was
/// announced in it: barriers go on until few enough became old during one.
bool repeats_barrier(const BarrierEnd& end);

/// Follows pre-copy: how fast pages are moved and dirtied, and whether the rest becomes less.
class Convergence {
 public:
  /// A round has ended; `dirtied_pages` were written during it, `pending_pages` are left.
  void note(const RoundReport& round, std::uint64_t pending_pages);
  /// Rounds in a row that left no less than 95 % of the least so far: a local minimum.
  [[nodiscard]] std::uint32_t stalled_rounds() const { return stalled_rounds_; }
  /// What the last round left is less than what it had to move.
  [[nodiscard]] bool shrinks() const { return shrinks_; }

 private:
  std::optional<std::uint64_t> least_;
  std::uint32_t stalled_rounds_ = 0;
  bool shrinks_ = true;
};

/// Pages a second.
[[nodiscard]] double moved_per_s(const RoundReport& round);
[[nodiscard]] double dirtied_per_s(const RoundReport& round);

}  // namespace godwit::engine
