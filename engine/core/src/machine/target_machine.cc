#include "machine/target_machine.h"

#include <array>

#include "machine/machine_table.h"

namespace godwit::engine {
namespace {

using S = TargetState;
using E = TargetEvent;

// Before READY the source may always go on with the guest, so the target throws everything away.
#define GODWIT_DISCARDS(state)                                                          \
  TargetTransition{S::state, E::kCancel, S::kCancelled, kTgtAckCancel | kTgtDiscard},   \
      TargetTransition{S::state, E::kPeerAbort, S::kFailed, kTgtDiscard},               \
      TargetTransition{S::state, E::kLinkLost, S::kFailed, kTgtDiscard},                \
      TargetTransition{S::state, E::kTimeout, S::kFailed, kTgtSendAbort | kTgtDiscard}, \
      TargetTransition {                                                                \
    S::state, E::kLocalError, S::kFailed, kTgtSendAbort | kTgtDiscard                   \
  }

constexpr std::array kTable = {
    TargetTransition{S::kListening, E::kHello, S::kNegotiating, kTgtWelcome},
    TargetTransition{S::kListening, E::kLocalError, S::kFailed, kTgtDiscard},
    GODWIT_DISCARDS(kNegotiating),
    TargetTransition{S::kNegotiating, E::kDescribed, S::kSetup, kTgtAccept},
    TargetTransition{S::kNegotiating, E::kRefused, S::kFailed, kTgtRefuse | kTgtDiscard},
    GODWIT_DISCARDS(kSetup),
    TargetTransition{S::kSetup, E::kChannelsOpen, S::kReceiving, 0},
    GODWIT_DISCARDS(kReceiving),
    TargetTransition{S::kReceiving, E::kFinalSync, S::kLoading, kTgtLoad},
    GODWIT_DISCARDS(kLoading),
    TargetTransition{S::kLoading, E::kLoaded, S::kReady, kTgtSendReady},
    TargetTransition{S::kLoading, E::kLoadFailed, S::kFailed, kTgtSendAbort | kTgtDiscard},
    // READY is out: the source may have decided, so nothing here may be thrown away or started
    // without its word.
    TargetTransition{S::kReady, E::kCommit, S::kRunning, kTgtRun},
    TargetTransition{S::kReady, E::kCancel, S::kCancelled, kTgtAckCancel | kTgtDiscard},
    TargetTransition{S::kReady, E::kPeerAbort, S::kFailed, kTgtDiscard},
    TargetTransition{S::kReady, E::kLinkLost, S::kInDoubt, kTgtHold},
    TargetTransition{S::kReady, E::kTimeout, S::kInDoubt, kTgtHold},
    TargetTransition{S::kReady, E::kLocalError, S::kInDoubt, kTgtHold},
    TargetTransition{S::kRunning, E::kAllPresent, S::kCompleted, kTgtComplete},
    TargetTransition{S::kRunning, E::kLinkLost, S::kSuspended, kTgtHold},
    TargetTransition{S::kRunning, E::kPeerAbort, S::kSuspended, kTgtHold},
    TargetTransition{S::kRunning, E::kLocalError, S::kSuspended, kTgtHold},
};

#undef GODWIT_DISCARDS

}  // namespace

std::span<const TargetTransition> TargetMachine::table() {
  return kTable;
}

const TargetTransition* TargetMachine::on(TargetEvent event) {
  const auto* row = find_row(kTable, state_, event);
  if (row != nullptr) {
    state_ = row->to;
  }
  return row;
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
