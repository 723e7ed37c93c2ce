#include "machine/target_machine.h"

#include <array>

#include "machine/machine_table.h"

namespace godwit::engine {
namespace {

using S = TargetState;
using E = TargetEvent;

constexpr auto row(S from, E event, S to, std::uint32_t actions) {
  return std::array{TargetTransition{from, event, to, actions}};
}

// Before READY the source may always go on with the guest, so the target throws everything away.
constexpr auto discards(S state) {
  return concat(row(state, E::kCancel, S::kCancelled, kTgtAckCancel | kTgtDiscard),
                row(state, E::kPeerAbort, S::kFailed, kTgtDiscard),
                row(state, E::kLinkLost, S::kFailed, kTgtDiscard),
                row(state, E::kTimeout, S::kFailed, kTgtSendAbort | kTgtDiscard),
                row(state, E::kLocalError, S::kFailed, kTgtSendAbort | kTgtDiscard));
}

// Of a state in which something of the guest depends on this side: the source may come back in it,
// and the newest connection counts.
constexpr auto kTakes = kTgtDropLink | kTgtTakeLink;
constexpr auto holds(S state, S held) {
  // The source is told, if the link is there: it would dial for nothing.
  return concat(row(state, E::kPeerAbort, held, kTgtHold),
                row(state, E::kLocalError, held, kTgtSendAbort | kTgtHold));
}

constexpr auto kTable = concat(
    row(S::kListening, E::kHello, S::kNegotiating, kTgtWelcome),
    row(S::kListening, E::kLocalError, S::kFailed, kTgtDiscard),
    discards(S::kNegotiating),
    row(S::kNegotiating, E::kDescribed, S::kSetup, kTgtAccept),
    row(S::kNegotiating, E::kRefused, S::kFailed, kTgtRefuse | kTgtDiscard),
    discards(S::kSetup),
    row(S::kSetup, E::kChannelsOpen, S::kReceiving, 0),
    discards(S::kReceiving),
    row(S::kReceiving, E::kFinalSync, S::kLoading, kTgtLoad),
    discards(S::kLoading),
    row(S::kLoading, E::kLoaded, S::kReady, kTgtSendReady),
    row(S::kLoading, E::kLoadFailed, S::kFailed, kTgtSendAbort | kTgtDiscard),
    // READY is out: the source may have decided, so nothing here may be thrown away or started
    // without its word.
    row(S::kReady, E::kCommit, S::kRunning, kTgtRun),
    row(S::kReady, E::kCancel, S::kCancelled, kTgtAckCancel | kTgtDiscard),
    row(S::kReady, E::kPeerAbort, S::kFailed, kTgtDiscard),
    row(S::kReady, E::kLinkLost, S::kUndecided, kTgtDropLink),
    row(S::kReady, E::kTimeout, S::kInDoubt, kTgtHold),
    row(S::kReady, E::kLocalError, S::kInDoubt, kTgtHold),
    row(S::kReady, E::kResumed, S::kReady, kTakes | kTgtTellMissing),
    row(S::kReady, E::kChannelsOpen, S::kReady, 0),
    row(S::kUndecided, E::kResumed, S::kReady, kTakes | kTgtTellMissing),
    row(S::kUndecided, E::kTimeout, S::kInDoubt, kTgtHold),
    row(S::kUndecided, E::kLocalError, S::kInDoubt, kTgtHold),
    row(S::kRunning, E::kAllPresent, S::kConfirming, kTgtComplete),
    row(S::kRunning, E::kLinkLost, S::kReconnecting, kTgtDropLink),
    row(S::kRunning, E::kResumed, S::kResync, kTakes | kTgtTellMissing),
    holds(S::kRunning, S::kSuspended),
    // The one end after COMMIT that throws the guest away: it runs at the source again.
    row(S::kRunning, E::kRunRefused, S::kFailed, kTgtSendNotStarted | kTgtDiscard),
    row(S::kReconnecting, E::kResumed, S::kResync, kTakes | kTgtTellMissing),
    row(S::kReconnecting, E::kTimeout, S::kSuspended, kTgtHold),
    holds(S::kReconnecting, S::kSuspended),
    row(S::kResync, E::kChannelsOpen, S::kRunning, 0),
    row(S::kResync, E::kLinkLost, S::kReconnecting, kTgtDropLink),
    row(S::kResync, E::kResumed, S::kResync, kTakes | kTgtTellMissing),
    row(S::kResync, E::kTimeout, S::kReconnecting, kTgtDropLink),
    holds(S::kResync, S::kSuspended),
    // The guest is whole here, whatever becomes of the link; the source is to hear of it.
    row(S::kConfirming, E::kFinish, S::kCompleted, 0),
    row(S::kConfirming, E::kLinkLost, S::kUnconfirmed, kTgtDropLink),
    row(S::kConfirming, E::kResumed, S::kConfirming, kTakes | kTgtTellComplete),
    row(S::kConfirming, E::kTimeout, S::kCompleted, 0),
    row(S::kConfirming, E::kPeerAbort, S::kCompleted, 0),
    row(S::kConfirming, E::kLocalError, S::kCompleted, 0),
    row(S::kUnconfirmed, E::kResumed, S::kConfirming, kTakes | kTgtTellComplete),
    row(S::kUnconfirmed, E::kTimeout, S::kCompleted, 0),
    row(S::kUnconfirmed, E::kLocalError, S::kCompleted, 0));

}  // namespace

std::span<const TargetTransition> TargetMachine::table() {
  return kTable;
}

const TargetTransition* TargetMachine::on(TargetEvent event) {
  const auto* found = find_row(kTable, state_, event);
  if (found != nullptr) {
    state_ = found->to;
  }
  return found;
}

bool TargetMachine::ended() const {
  return state_ == S::kCompleted || state_ == S::kCancelled || state_ == S::kSuspended ||
         state_ == S::kInDoubt || state_ == S::kFailed;
}

std::string_view to_string(TargetState state) {
  constexpr std::array kNames = {"",
                                 "listening",
                                 "negotiating",
                                 "setup",
                                 "receiving",
                                 "loading",
                                 "ready",
                                 "running",
                                 "completed",
                                 "cancelled",
                                 "suspended",
                                 "in-doubt",
                                 "failed",
                                 "reconnecting",
                                 "resync",
                                 "undecided",
                                 "confirming",
                                 "unconfirmed"};
  return kNames.at(static_cast<std::size_t>(state));
}

std::string_view to_string(TargetEvent event) {
  constexpr std::array kNames = {"",
                                 "hello",
                                 "described",
                                 "refused",
                                 "channels-open",
                                 "final-sync",
                                 "loaded",
                                 "load-failed",
                                 "commit",
                                 "all-present",
                                 "cancel",
                                 "peer-abort",
                                 "link-lost",
                                 "timeout",
                                 "local-error",
                                 "resumed",
                                 "finish",
                                 "run-refused"};
  return kNames.at(static_cast<std::size_t>(event));
}

}  // namespace godwit::engine
