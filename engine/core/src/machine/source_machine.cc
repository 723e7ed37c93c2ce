#include "machine/source_machine.h"

#include <array>

#include "machine/machine_table.h"

namespace godwit::engine {
namespace {

using S = SourceState;
using E = SourceEvent;

constexpr auto row(S from, E event, S to, std::uint32_t actions) {
  return std::array{SourceTransition{from, event, to, actions}};
}

// How a failure ends depends only on whether the guest has been stopped and whether the decision is
// recorded.
constexpr auto fails_untouched(S state) {
  return concat(row(state, E::kCancel, S::kFailed, kActClose),
                row(state, E::kPeerAbort, S::kFailed, kActClose),
                row(state, E::kLinkLost, S::kFailed, kActClose),
                row(state, E::kTimeout, S::kFailed, kActClose),
                row(state, E::kLocalError, S::kFailed, kActClose));
}
constexpr auto rolls_back(S state) {
  constexpr auto kGiveUp = kActSendCancel | kActResume | kActClose;
  return concat(row(state, E::kCancel, S::kCancelling, kActSendCancel | kActResume),
                row(state, E::kPeerAbort, S::kRolledBack, kActResume | kActClose),
                row(state, E::kLinkLost, S::kRolledBack, kActResume | kActClose),
                row(state, E::kTimeout, S::kRolledBack, kGiveUp),
                row(state, E::kLocalError, S::kRolledBack, kGiveUp));
}
// After the decision a link is dialled again. A silence that is too long (kTimeout) is a lost link.
constexpr auto reconnects(S state) {
  constexpr auto kAgain = kActDropLink | kActReconnect;
  return concat(row(state, E::kPeerAbort, S::kSuspended, kActHold | kActClose),
                row(state, E::kLinkLost, S::kReconnecting, kAgain),
                row(state, E::kTimeout, S::kReconnecting, kAgain),
                row(state, E::kLocalError, S::kSuspended, kActHold | kActClose));
}

constexpr auto kTable = concat(
    row(S::kIdle, E::kStart, S::kConnecting, kActConnect),
    row(S::kIdle, E::kLocalError, S::kFailed, kActClose),
    fails_untouched(S::kConnecting),
    row(S::kConnecting, E::kConnected, S::kNegotiating, kActSendHello),
    fails_untouched(S::kNegotiating),
    row(S::kNegotiating, E::kWelcome, S::kSetup, kActDescribe),
    rolls_back(S::kSetup),
    row(S::kSetup, E::kAccepted, S::kPrecopy, kActStartRounds),
    rolls_back(S::kPrecopy),
    row(S::kPrecopy, E::kSwitchLive, S::kBarrier, kActSendBarrier),
    row(S::kPrecopy, E::kSwitchPaused, S::kFinalQuiesce, kActQuiesce),
    rolls_back(S::kBarrier),
    row(S::kBarrier, E::kBarrierAcked, S::kQuiesce, kActQuiesce),
    rolls_back(S::kQuiesce),
    row(S::kQuiesce, E::kQuiesced, S::kStateTransfer, kActSendState),
    rolls_back(S::kFinalQuiesce),
    row(S::kFinalQuiesce, E::kQuiesced, S::kFinalRound, kActStartRounds),
    rolls_back(S::kFinalRound),
    row(S::kFinalRound, E::kRoundDone, S::kFinalBarrier, kActSendBarrier),
    rolls_back(S::kFinalBarrier),
    row(S::kFinalBarrier, E::kBarrierAcked, S::kStateTransfer, kActSendState),
    row(S::kStateTransfer, E::kCancel, S::kCancelling, kActSendCancel | kActResume),
    row(S::kStateTransfer, E::kPeerAbort, S::kRolledBack, kActResume | kActClose),
    row(S::kStateTransfer, E::kLinkLost, S::kRevoking, kActResume | kActDropLink | kActReconnect),
    row(S::kStateTransfer, E::kTimeout, S::kRolledBack, kActSendCancel | kActResume | kActClose),
    row(S::kStateTransfer, E::kLocalError, S::kRolledBack, kActSendCancel | kActResume | kActClose),
    // The guest runs here whatever comes of this.
    row(S::kRevoking, E::kConnected, S::kRevoking, kActSendHello),
    row(S::kRevoking, E::kWelcome, S::kRevoking, kActSendCancel),
    row(S::kRevoking, E::kCancelAcked, S::kRolledBack, kActClose),
    row(S::kRevoking, E::kPeerAbort, S::kRolledBack, kActClose),
    row(S::kRevoking, E::kLinkLost, S::kRevoking, kActDropLink | kActReconnect),
    row(S::kRevoking, E::kTimeout, S::kRolledBack, kActClose),
    row(S::kRevoking, E::kLocalError, S::kRolledBack, kActClose),
    row(S::kRevoking, E::kCancel, S::kRolledBack, kActClose),
    // The commit point: the decision is recorded before the first byte of COMMIT leaves.
    row(S::kStateTransfer, E::kReady, S::kHandover, kActDecide | kActSendCommit),
    reconnects(S::kHandover),
    row(S::kHandover, E::kRunning, S::kPostcopy, kActStream),
    row(S::kHandover, E::kNotStarted, S::kRolledBack, kActResume | kActClose),
    reconnects(S::kPostcopy),
    row(S::kPostcopy, E::kAllSent, S::kDraining, 0),
    row(S::kPostcopy, E::kComplete, S::kCompleted, kActFinish | kActClose),
    reconnects(S::kDraining),
    row(S::kDraining, E::kComplete, S::kCompleted, kActFinish | kActClose),
    row(S::kReconnecting, E::kConnected, S::kResync, kActSendHello),
    row(S::kReconnecting, E::kTimeout, S::kSuspended, kActHold | kActClose),
    row(S::kReconnecting, E::kLocalError, S::kSuspended, kActHold | kActClose),
    reconnects(S::kResync),
    // COMMIT again, of the decision that was recorded before the first one: the target takes
    // one only.
    row(S::kResync, E::kResyncedReady, S::kHandover, kActSendCommit),
    row(S::kResync, E::kResyncedRunning, S::kPostcopy, kActStream),
    row(S::kResync, E::kComplete, S::kCompleted, kActFinish | kActClose),
    row(S::kSuspended, E::kRecover, S::kReconnecting, kActReconnect),
    row(S::kSuspended, E::kFence, S::kRolledBack, kActResume),
    row(S::kCancelling, E::kCancelAcked, S::kRolledBack, kActClose),
    row(S::kCancelling, E::kPeerAbort, S::kRolledBack, kActClose),
    row(S::kCancelling, E::kLinkLost, S::kRolledBack, kActClose),
    row(S::kCancelling, E::kTimeout, S::kRolledBack, kActClose),
    row(S::kCancelling, E::kLocalError, S::kRolledBack, kActClose));

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
  const auto* found = find_row(kTable, state_, event);
  if (found != nullptr) {
    state_ = found->to;
    decided_ = decided_ || (found->actions & kActDecide) != 0;
  }
  return found;
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
                                 "failed",
                                 "reconnecting",
                                 "resync",
                                 "revoking"};
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
                                 "local-error",
                                 "resynced-ready",
                                 "resynced-running",
                                 "recover",
                                 "fence"};
  return kNames.at(static_cast<std::size_t>(event));
}

}  // namespace godwit::engine
