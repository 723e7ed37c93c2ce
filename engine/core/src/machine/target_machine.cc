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
    row(S::kReady, E::kLinkLost, S::kInDoubt, kTgtHold),
    row(S::kReady, E::kTimeout, S::kInDoubt, kTgtHold),
    row(S::kReady, E::kLocalError, S::kInDoubt, kTgtHold),
    row(S::kRunning, E::kAllPresent, S::kCompleted, kTgtComplete),
    row(S::kRunning, E::kLinkLost, S::kSuspended, kTgtHold),
    row(S::kRunning, E::kPeerAbort, S::kSuspended, kTgtHold),
    row(S::kRunning, E::kLocalError, S::kSuspended, kTgtHold));

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
  return state_ >= S::kCompleted;
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
                                 "failed"};
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
                                 "local-error"};
  return kNames.at(static_cast<std::size_t>(event));
}

}  // namespace godwit::engine
