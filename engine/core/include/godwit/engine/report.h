#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "godwit/base/error.h"
#include "godwit/base/histogram.h"
#include "godwit/base/names.h"
#include "godwit/engine/ports/guest.h"
#include "godwit/engine/trace.h"

namespace godwit::engine {

enum class Outcome : std::uint8_t { kCompleted = 1, kFailed, kCancelled, kInDoubt };

/// One pre-copy round as the report shows it.
struct RoundReport {
  std::uint64_t pages = 0;
  std::uint64_t bytes = 0;
  std::int64_t began_ns = 0;  ///< CLOCK_MONOTONIC
  std::int64_t ns = 0;
  std::uint64_t dirtied_pages = 0;  ///< pages written while the round ran
};

/// Why pre-copy ended.
enum class SwitchReason : std::uint8_t {
  kNone = 0,
  kMode,           ///< the mode has no pre-copy
  kNothingLeft,    ///< the guest wrote nothing during the last round
  kRounds,         ///< hybrid: as many rounds as were asked for
  kNotShrinking,   ///< hybrid: a round left no less than the one before
  kTargetMaps,     ///< hybrid: the target maps what it places, so no page goes twice
  kRequested,      ///< `switch`
  kFits,           ///< precopy: the blackout fits the limit
  kNotConverging,  ///< precopy: it never will
};
inline constexpr Names kSwitchReasonNames{
    std::array{Named{SwitchReason::kNone, "none"},
               Named{SwitchReason::kMode, "mode"},
               Named{SwitchReason::kNothingLeft, "nothing-left"},
               Named{SwitchReason::kRounds, "rounds"},
               Named{SwitchReason::kNotShrinking, "not-shrinking"},
               Named{SwitchReason::kTargetMaps, "target-maps"},
               Named{SwitchReason::kRequested, "requested"},
               Named{SwitchReason::kFits, "fits"},
               Named{SwitchReason::kNotConverging, "not-converging"}}};

/// How pre-copy ended.
struct SwitchReport {
  SwitchReason reason = SwitchReason::kNone;
  std::int64_t blackout_ns = -1;   ///< expected of one that carries the rest; -1: not known
  double moved_pages_per_s = 0;    ///< in the last round
  double dirtied_pages_per_s = 0;  ///< the same
};

/// Lost links that came back after the decision to commit.
struct RecoveryReport {
  std::uint64_t count = 0;
  std::uint64_t resent_pages = 0;  ///< sent before the loss, and lost with the link
  std::int64_t paused_ns = 0;      ///< from each loss, as noticed here, until pages flowed again
};

/// An error with the place it ended the migration at.
struct EndError {
  Error error;
  std::string side;   ///< "source" or "target": who noticed
  std::string phase;  ///< state of the side that noticed
};

/// What the target knows: how it places pages and populated its memory when it has its machine, the
/// rest in its last message.
struct TargetFigures {
  Histogram faults;
  std::uint64_t installed = 0;       ///< pages installed after the switch
  bool scheduling_degraded = false;  ///< some thread runs without its role's scheduling
  std::uint64_t retracted = 0;  ///< pages unmapped again since they became old (Placing::kMaps)
  std::uint64_t retracted_at_switch = 0;  ///< of these, behind the barrier
  std::int64_t cpu_ns = 0;
  std::int64_t first_run_ns = 0;  ///< target's CLOCK_MONOTONIC of the first guest instruction
  std::int64_t run_ended_ns = 0;  ///< on the same clock: its vCPUs were told to run, before RUNNING
  std::int64_t prealloc_ns = 0;
  std::string placement;
  std::string boot_id;
};

/// All figures of one migration, as the source sees it. Units: ns, bytes, pages.
struct MigrationReport {
  Outcome outcome = Outcome::kFailed;
  std::optional<EndError> error;
  std::int64_t total_ns = 0;
  std::int64_t setup_ns = 0;
  std::int64_t precopy_ns = 0;
  std::int64_t downtime_ns = 0;
  std::int64_t postcopy_ns = 0;
  struct Parts {
    std::int64_t quiesce = 0, final_sync = 0, state_save = 0, state_transfer = 0, state_load = 0,
                 resume = 0;
  } parts;
  bool downtime_limit_met = true;
  std::uint64_t wire_bytes = 0, payload_bytes = 0, urgent_bytes = 0, control_bytes = 0;
  std::uint64_t pages_total = 0, pages_populated = 0, pages_zero = 0, pages_sent = 0,
                pages_resent = 0;
  std::uint64_t pages_demand = 0, pages_background = 0, pages_overtaken = 0, pages_prefetched = 0;
  std::uint64_t pages_sent_twice = 0;
  std::vector<RoundReport> rounds;
  SwitchReport ended_precopy;
  RecoveryReport recovery;
  TargetFigures target;
  RunEdge stopped;
  std::optional<PageId> planted_page;  ///< that SourceOptions::planted_loss left stale
  std::uint32_t channels = 1;          ///< bulk connections
  std::int64_t cpu_waited_ns = 0;      ///< by the lanes here, for a processor
  bool cpu_raised = false;             ///< one of them went ahead of the guest, see CpuShare
  std::string transport, congestion, dirty_source;
  SourceTrace trace;
};

/// Live figures; every field may be read while the migration runs.
struct Progress {
  std::string phase;
  std::uint32_t round = 0;
  std::uint64_t sent_pages = 0;
  std::uint64_t remaining_pages = 0;
  std::uint64_t sent_bytes = 0;  ///< bodies of all page frames, those that answer faults included
  std::uint64_t bytes_per_s = 0;
  std::int64_t eta_ns = -1;  ///< -1: unknown
  /// Expected of a blackout that carried the remaining pages now (mode precopy); -1: unknown.
  std::int64_t blackout_ns = -1;
  double moved_pages_per_s = 0;  ///< in the last round that has ended
  double dirtied_pages_per_s = 0;
  SwitchReason reason = SwitchReason::kNone;  ///< why pre-copy ended, once it has
};

}  // namespace godwit::engine
