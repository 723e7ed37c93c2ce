#include "machine/source_machine.h"

#include <array>

#include "machine/machine_table.h"

namespace godwit::engine {
namespace {

using S = SourceState;
using E = SourceEvent;

// How a failure ends depends only on whether the guest has been stopped and whether the decision is
// recorded.
#define GODWIT_FAILS_UNTOUCHED(state)                                                    \
  SourceTransition{S::state, E::kCancel, S::kFailed, kActClose},                         \
      SourceTransition{S::state, E::kPeerAbort, S::kFailed, kActClose},                  \
      SourceTransition{S::state, E::kLinkLost, S::kFailed, kActClose},                   \
      SourceTransition{S::state, E::kTimeout, S::kFailed, kActClose}, SourceTransition { \
    S::state, E::kLocalError, S::kFailed, kActClose                                      \
  }
#define GODWIT_ROLLS_BACK(state)                                                           \
  SourceTransition{S::state, E::kCancel, S::kCancelling, kActSendCancel | kActResume},     \
      SourceTransition{S::state, E::kPeerAbort, S::kRolledBack, kActResume | kActClose},   \
      SourceTransition{S::state, E::kLinkLost, S::kRolledBack, kActResume | kActClose},    \
      SourceTransition{                                                                    \
          S::state, E::kTimeout, S::kRolledBack, kActSendCancel | kActResume | kActClose}, \
      SourceTransition {                                                                   \
    S::state, E::kLocalError, S::kRolledBack, kActSendCancel | kActResume | kActClose      \
  }
#define GODWIT_HOLDS(state)                                                          \
  SourceTransition{S::state, E::kPeerAbort, S::kSuspended, kActHold | kActClose},    \
      SourceTransition{S::state, E::kLinkLost, S::kSuspended, kActHold | kActClose}, \
      SourceTransition {                                                             \
    S::state, E::kLocalError, S::kSuspended, kActHold | kActClose                    \
  }

constexpr std::array kTable = {
    SourceTransition{S::kIdle, E::kStart, S::kConnecting, kActConnect},
    GODWIT_FAILS_UNTOUCHED(kConnecting),
    SourceTransition{S::kConnecting, E::kConnected, S::kNegotiating, kActSendHello},
    GODWIT_FAILS_UNTOUCHED(kNegotiating),
    SourceTransition{S::kNegotiating, E::kWelcome, S::kSetup, kActDescribe},
    GODWIT_ROLLS_BACK(kSetup),
    SourceTransition{S::kSetup, E::kAccepted, S::kPrecopy, kActStartRounds},
    GODWIT_ROLLS_BACK(kPrecopy),
    SourceTransition{S::kPrecopy, E::kSwitchLive, S::kBarrier, kActSendBarrier},
    SourceTransition{S::kPrecopy, E::kSwitchPaused, S::kFinalQuiesce, kActQuiesce},
    GODWIT_ROLLS_BACK(kBarrier),
    SourceTransition{S::kBarrier, E::kBarrierAcked, S::kQuiesce, kActQuiesce},
    GODWIT_ROLLS_BACK(kQuiesce),
    SourceTransition{S::kQuiesce, E::kQuiesced, S::kStateTransfer, kActSendState},
    GODWIT_ROLLS_BACK(kFinalQuiesce),
    SourceTransition{S::kFinalQuiesce, E::kQuiesced, S::kFinalRound, kActStartRounds},
    GODWIT_ROLLS_BACK(kFinalRound),
    SourceTransition{S::kFinalRound, E::kRoundDone, S::kFinalBarrier, kActSendBarrier},
    GODWIT_ROLLS_BACK(kFinalBarrier),
    SourceTransition{S::kFinalBarrier, E::kBarrierAcked, S::kStateTransfer, kActSendState},
    GODWIT_ROLLS_BACK(kStateTransfer),
    // The commit point: the decision is recorded before the first byte of COMMIT leaves.
    SourceTransition{S::kStateTransfer, E::kReady, S::kHandover, kActDecide | kActSendCommit},
    GODWIT_HOLDS(kHandover),
    SourceTransition{S::kHandover, E::kRunning, S::kPostcopy, kActStream},
    SourceTransition{S::kHandover, E::kNotStarted, S::kRolledBack, kActResume | kActClose},
    GODWIT_HOLDS(kPostcopy),
    SourceTransition{S::kPostcopy, E::kAllSent, S::kDraining, 0},
    SourceTransition{S::kPostcopy, E::kComplete, S::kCompleted, kActFinish},
    GODWIT_HOLDS(kDraining),
    SourceTransition{S::kDraining, E::kComplete, S::kCompleted, kActFinish},
    SourceTransition{S::kCancelling, E::kCancelAcked, S::kRolledBack, kActClose},
    SourceTransition{S::kCancelling, E::kPeerAbort, S::kRolledBack, kActClose},
    SourceTransition{S::kCancelling, E::kLinkLost, S::kRolledBack, kActClose},
    SourceTransition{S::kCancelling, E::kTimeout, S::kRolledBack, kActClose},
    SourceTransition{S::kCancelling, E::kLocalError, S::kRolledBack, kActClose},
};

#undef GODWIT_FAILS_UNTOUCHED
#undef GODWIT_ROLLS_BACK
#undef GODWIT_HOLDS

constexpr SourceTransition kEarlyCommit{
    S::kStateTransfer, E::kQuiesced, S::kHandover, kActDecide | kActSendCommit};

}  // namespace

std::span<const SourceTransition> SourceMachine::table() {
  return kTable;
}

const SourceTransition* SourceMachine::on(SourceEvent event) {
  if (bugs_.commit_before_ready && state_ == S::kStateTransfer && event == E::kQuiesced) {
    state_ = kEarlyCommit.to;
    decided_ = true;
    return &kEarlyCommit;
  }
  const auto* row = find_row(kTable, state_, event);
  if (row != nullptr) {
    state_ = row->to;
    decided_ = decided_ || (row->actions & kActDecide) != 0;
  }
  return row;
}

bool SourceMachine::ended() const {
  return state_ == S::kCompleted || state_ == S::kRolledBack || state_ == S::kFailed ||
         state_ == S::kSuspended;
}

std::string_view to_string(SourceState state) {
  constexpr std::array kNames = {"",
                                 "idle",
                                 "connecting",
                                 "negotiating",
                                 "setup",
                                 "precopy",
                                 "barrier",
                                 "quiesce",
                                 "final-quiesce",
                                 "final-round",
                                 "final-barrier",
                                 "state-transfer",
                                 "handover",
                                 "postcopy",
                                 "draining",
                                 "completed",
                                 "cancelling",
                                 "suspended",
                                 "rolled-back",
                                 "failed"};
  return kNames.at(static_cast<std::size_t>(state));
}

std::string_view to_string(SourceEvent event) {
  constexpr std::array kNames = {"",
                                 "start",
                                 "connected",
                                 "welcome",
                                 "accepted",
                                 "switch-live",
                                 "switch-paused",
                                 "round-done",
                                 "barrier-acked",
                                 "quiesced",
                                 "ready",
                                 "running",
                                 "not-started",
                                 "all-sent",
                                 "complete",
                                 "cancel",
                                 "cancel-acked",
                                 "peer-abort",
                                 "link-lost",
                                 "timeout",
                                 "local-error"};
  return kNames.at(static_cast<std::size_t>(event));
}

}  // namespace godwit::engine
