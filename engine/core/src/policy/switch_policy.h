#pragma once

#include <cstdint>

#include "godwit/engine/options.h"

namespace godwit::engine {

/// What the end of a round says.
struct RoundEnd {
  std::uint32_t rounds_done = 0;
  std::uint64_t pending_pages = 0;           ///< dirtied meanwhile
  std::uint64_t previous_pending_pages = 0;  ///< at the end of the round before; 0 = none
  double bytes_per_s = 0;                    ///< of this round
  bool switch_requested = false;
  bool target_maps = false;  ///< the target maps pages as it places them: see judge_round()
};

enum class Verdict : std::uint8_t { kNextRound = 1, kSwitchLive, kSwitchPaused, kGiveUp };

/// Decides after each pre-copy round. Hybrid switches after its rounds, when the dirty set stops
/// shrinking or on request, since its blackout carries no pages; precopy stops the guest when the
/// rest fits the downtime limit. Where the target maps pages as it places them, a page that is sent
/// and then written must be unmapped again there, so hybrid sends no page twice before the switch:
/// pages written during the first round travel after it.
Verdict judge_round(const SourceOptions& options, const RoundEnd& end);

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

/// Whether the remaining pages fit the limit at the measured speed.
bool fits_downtime(const SourceOptions& options, const RoundEnd& end);

}  // namespace godwit::engine
