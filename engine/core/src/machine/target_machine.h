#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "godwit/engine/states.h"

namespace godwit::engine {

enum class TargetEvent : std::uint8_t {
  kHello = 1,
  kDescribed,  ///< description accepted, machine created
  kRefused,    ///< description refused
  kChannelsOpen,
  kFinalSync,
  kLoaded,
  kLoadFailed,
  kCommit,
  kAllPresent,
  kCancel,  ///< from the source
  kPeerAbort,
  kLinkLost,
  kTimeout,
  kLocalError,
  kResumed,     ///< the source of this session has connected again
  kFinish,      ///< the source has let go
  kRunRefused,  ///< the guest cannot be started here, and nothing of it has run
};

enum TargetAction : std::uint32_t {
  kTgtWelcome = 1U << 0,
  kTgtAccept = 1U << 1,
  kTgtRefuse = 1U << 2,
  kTgtLoad = 1U << 3,
  kTgtSendReady = 1U << 4,
  kTgtRun = 1U << 5,  ///< the guest runs here; then RUNNING
  kTgtComplete = 1U << 6,
  kTgtAckCancel = 1U << 7,
  kTgtSendAbort = 1U << 8,
  kTgtDiscard = 1U << 9,
  kTgtHold = 1U << 10,
  kTgtDropLink =
      1U << 11,  ///< end channels and lanes; faults on pages that are here go on being served
  kTgtTakeLink = 1U << 12,      ///< the control channel is the one that has come
  kTgtTellMissing = 1U << 13,   ///< WELCOME; whether the guest runs; which pages are absent
  kTgtTellComplete = 1U << 14,  ///< WELCOME; COMPLETE once more
  kTgtSendNotStarted = 1U << 15,
};

struct TargetTransition {
  TargetState from;
  TargetEvent event;
  TargetState to;
  std::uint32_t actions;
};

/// The target's side of the handover as a table; sans I/O.
/// Guarantees: kTgtRun happens once, only on kCommit in kReady.
class TargetMachine {
 public:
  const TargetTransition* on(TargetEvent event);
  [[nodiscard]] TargetState state() const { return state_; }
  [[nodiscard]] bool ended() const;
  static std::span<const TargetTransition> table();

 private:
  TargetState state_ = TargetState::kListening;
};

std::string_view to_string(TargetEvent event);

}  // namespace godwit::engine
