#pragma once

#include <cstdint>
#include <optional>

#include "godwit/base/units.h"
#include "godwit/engine/states.h"

// Every time-out of the engine. What a user sets (SourceOptions::timeout_ns and the target's) is the
// longest wait without progress; connecting a channel and letting announcements leave are bounded by
// it as well. The others are fixed.

namespace godwit::engine {

/// A connection that nobody knows yet has so long for its HELLO (the user's time-out, if shorter).
inline constexpr std::int64_t kHelloNs = 2'000'000'000;
/// Telling a stranger why it is turned away may take so long.
inline constexpr std::int64_t kRefusalNs = 1'000'000'000;
/// A session that has ended waits so long for its last message to leave, and a target that has
/// completed for the source's FINISH.
inline constexpr std::int64_t kFlushNs = 1'000'000'000;
/// A target that populates its memory says nothing meanwhile. The slowest that is waited for.
inline constexpr std::uint64_t kSlowestPopulateBytesPerUs = 256;

/// Longest wait without progress at the source; absent: none ends it. After the decision a deadline
/// would end what only the target's word may end. `populating_bytes`: of memory that the target
/// populates before it answers the description.
[[nodiscard]] constexpr std::optional<std::int64_t> patience_ns(SourceState state,
                                                                std::int64_t timeout_ns,
                                                                std::uint64_t populating_bytes) {
  switch (state) {
    case SourceState::kHandover:
    case SourceState::kPostcopy:
    case SourceState::kDraining:
      return std::nullopt;
    case SourceState::kSetup:
      return timeout_ns +
             static_cast<std::int64_t>(populating_bytes / kSlowestPopulateBytesPerUs) * 1000;
    default:
      return timeout_ns;
  }
}

/// Longest wait without progress at the target; absent: none ends it. In ready and running a
/// deadline would decide what only the source may.
[[nodiscard]] constexpr std::optional<std::int64_t> patience_ns(TargetState state,
                                                                std::int64_t timeout_ns) {
  switch (state) {
    case TargetState::kListening:
    case TargetState::kReady:
    case TargetState::kRunning:
      return std::nullopt;
    default:
      return timeout_ns;
  }
}

}  // namespace godwit::engine
