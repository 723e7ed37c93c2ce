#pragma once

#include <cstdint>
#include <optional>

#include "godwit/base/units.h"
#include "godwit/engine/states.h"

// Every time-out of the engine. What a user sets (SourceOptions::timeout_ns and the target's) is the
// longest wait without progress; connecting a channel and letting announcements leave are bounded by
// it as well. SourceOptions::stall_ns and recover_for_ns are the user's, too. The others are fixed.

namespace godwit::engine {

/// A connection that nobody knows yet has so long for its HELLO (the user's time-out, if shorter).
inline constexpr std::int64_t kHelloNs = 2'000'000'000;
/// Telling a stranger why it is turned away may take so long.
inline constexpr std::int64_t kRefusalNs = 1'000'000'000;
/// A session that has ended waits so long for its last message to leave, and a target that has all
/// pages for the source's FINISH, if a lost link could not come back.
inline constexpr std::int64_t kFlushNs = 1'000'000'000;
/// A target that has all pages and has lost its link waits so long for a source that wants to hear of
/// it. The guest is whole: this keeps only its process from handing it on.
inline constexpr std::int64_t kUnconfirmedNs = 120'000'000'000;
/// A target that populates its memory says nothing meanwhile. The slowest that is waited for.
inline constexpr std::uint64_t kSlowestPopulateBytesPerUs = 256;

/// What bounds a session's waits. Units: ns.
struct Patience {
  std::int64_t timeout_ns = 0;  ///< before the decision, and for an answer after it
  std::int64_t stall_ns = 0;  ///< after the decision a link that moves nothing for so long is lost
  bool recovers = false;      ///< both sides can take up a lost link again
};

/// Longest wait without progress at the source; absent: none ends it. After the decision a deadline
/// never ends the migration, only a link. What bounds reconnecting is not a wait without progress:
/// see ReconnectWindow. `populating_bytes`: of memory that the target populates before it answers
/// the description.
[[nodiscard]] constexpr std::optional<std::int64_t> patience_ns(SourceState state,
                                                                const Patience& patience,
                                                                std::uint64_t populating_bytes) {
  switch (state) {
    case SourceState::kHandover:
    case SourceState::kPostcopy:
    case SourceState::kDraining:
      return patience.recovers ? std::optional(patience.stall_ns) : std::nullopt;
    case SourceState::kReconnecting:
      return std::nullopt;
    case SourceState::kSetup:
      return patience.timeout_ns +
             static_cast<std::int64_t>(populating_bytes / kSlowestPopulateBytesPerUs) * 1000;
    default:
      return patience.timeout_ns;
  }
}

/// Longest wait without progress at the target; absent: none ends it. Where only the source may
/// decide, or only it has the missing pages, it is waited for without a limit, if it can come back.
[[nodiscard]] constexpr std::optional<std::int64_t> patience_ns(TargetState state,
                                                                const Patience& patience) {
  switch (state) {
    case TargetState::kListening:
    case TargetState::kReady:
    case TargetState::kRunning:
      return std::nullopt;
    case TargetState::kReconnecting:
    case TargetState::kUndecided:
      return patience.recovers ? std::nullopt : std::optional<std::int64_t>(0);
    case TargetState::kConfirming:
      return patience.recovers ? patience.stall_ns : kFlushNs;
    case TargetState::kUnconfirmed:
      return patience.recovers ? kUnconfirmedNs : 0;
    default:
      return patience.timeout_ns;
  }
}

}  // namespace godwit::engine
