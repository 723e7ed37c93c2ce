#pragma once

#include <cstdint>
#include <string_view>

namespace godwit::engine {

/// How far the source's side of a migration is. The ways between them: docs/state-machines.md.
enum class SourceState : std::uint8_t {
  kIdle = 1,
  kConnecting,
  kNegotiating,
  kSetup,         ///< described; the target allocates
  kPrecopy,       ///< guest runs, rounds go out
  kBarrier,       ///< guest runs, no page may be in flight before it stops
  kQuiesce,       ///< guest stops
  kFinalQuiesce,  ///< guest stops; its last pages follow (precopy, stop-and-copy)
  kFinalRound,
  kFinalBarrier,
  kStateTransfer,  ///< final sync and machine state are on their way; pages are served from here on
  kHandover,       ///< decided to commit, COMMIT sent
  kPostcopy,
  kDraining,  ///< everything sent; the target confirms
  kCompleted,
  kCancelling,  ///< waiting for the target's acknowledgement of a cancel
  /// The link was lost after the decision and did not come back: the memory is kept, and the guest is
  /// never resumed here automatically.
  kSuspended,
  kRolledBack,    ///< ended, guest goes on here
  kFailed,        ///< ended before anything changed
  kReconnecting,  ///< the link was lost after the decision: the target is dialled again and again
  kResync,        ///< connected again; the target says what it misses, and channels open
  /// The link was lost while the target may have been ready: the guest goes on here, and the target,
  /// which does not know, is dialled to be told.
  kRevoking,
};

/// How far the target's side is. Numbers are part of the protocol (the phase in REFUSE and ABORT).
enum class TargetState : std::uint8_t {
  kListening = 1,
  kNegotiating,
  kSetup,      ///< machine allocated; channels open
  kReceiving,  ///< pages and announcements arrive
  kLoading,    ///< final sync checked, machine state being loaded
  kReady,      ///< READY sent; the source decides
  kRunning,    ///< the guest runs here; missing pages are fetched
  kCompleted,
  kCancelled,     ///< ended, everything discarded
  kSuspended,     ///< ended while pages were missing: guest and memory are kept
  kInDoubt,       ///< ended after READY: only the source or an operator knows who runs the guest
  kFailed,        ///< ended by an error, everything discarded
  kReconnecting,  ///< link lost while running with pages missing: the source is waited for
  kResync,        ///< the source is back; what is missing was told, and channels open
  kUndecided,     ///< link lost after READY: the source, which alone knows, is waited for
  kConfirming,    ///< all pages are here; the source has to let go
  kUnconfirmed,   ///< the same, and the link is lost: the source may come back to hear of it
};

/// "final-round", "in-doubt", ...: as reports and messages write them. Of a literal.
std::string_view to_string(SourceState state);
std::string_view to_string(TargetState state);

}  // namespace godwit::engine
