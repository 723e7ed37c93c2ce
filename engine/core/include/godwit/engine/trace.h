#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "godwit/base/units.h"

// What each side remembers of a migration's course beside its figures, enough to draw a timeline.
// Units: every moment is in ns of CLOCK_MONOTONIC of the side that noted it; 0 = not reached.
// Cost: a state and a round each note one moment, always; a fault notes its two only where
// TargetOptions::trace_faults leaves room, in memory that exists before the guest runs.

namespace godwit::engine {

/// A state of one side's machine. It lasts until the next one begins, or until the session ends.
struct TraceState {
  std::string_view name;  ///< of a literal: to_string() of the state
  std::int64_t began_ns = 0;
};

/// A fault that the target's fault service answered.
struct TraceFault {
  PageId page;
  std::int64_t read_ns = 0;   ///< its message was read from the userfaultfd
  std::int64_t woken_ns = 0;  ///< whoever waited for the page was woken
};

/// How the target's clock stands to the source's, as the source can tell.
struct TraceClock {
  bool known = false;
  std::int64_t ahead_ns = 0;  ///< a moment at the target less the same moment at the source
  std::int64_t error_ns = 0;  ///< ahead_ns may be off by this much
};

/// The course at the source. Part of MigrationReport; complete when the session has ended.
struct SourceTrace {
  std::vector<TraceState> states;
  std::int64_t began_ns = 0;
  std::int64_t precopy_began_ns = 0;
  std::int64_t ended_ns = 0;
  TraceClock target_clock;
};

/// The course at the target.
struct TargetTrace {
  std::vector<TraceState> states;  ///< from the first connection on; waiting for it is left out
  std::int64_t load_began_ns = 0;
  std::int64_t load_ended_ns = 0;
  std::int64_t run_began_ns = 0;
  std::int64_t run_ended_ns = 0;  ///< the call that starts the vCPUs returned
  std::int64_t first_run_ns = 0;  ///< first guest instruction; known once completed
  std::int64_t ended_ns = 0;
  /// TargetOptions::trace_faults of them, in order of read_ns: the earliest of the first ones that
  /// each thread answered. Empty while the guest is held:
  /// its faults are still being served then.
  std::vector<TraceFault> faults;
  std::uint64_t faults_dropped = 0;  ///< answered as well, beyond those
};

}  // namespace godwit::engine
