#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "godwit/engine/states.h"

namespace godwit::engine {

enum class SourceEvent : std::uint8_t {
  kStart = 1,
  kConnected,
  kWelcome,
  kAccepted,      ///< the target has its machine and answered on all channels
  kSwitchLive,    ///< hybrid, postcopy: switch now
  kSwitchPaused,  ///< precopy, stop-and-copy: the rest goes while the guest is stopped
  kRoundDone,
  kBarrierAcked,
  kQuiesced,
  kReady,
  kRunning,
  kNotStarted,  ///< the target is bound never to run this epoch
  kAllSent,
  kComplete,
  kCancel,
  kCancelAcked,
  kPeerAbort,  ///< the target gave up or refused
  kLinkLost,   ///< also: damaged or illegal bytes, after which the link cannot be trusted
  kTimeout,
  kLocalError,
  kResyncedReady,    ///< connected again; the target waits for COMMIT
  kResyncedRunning,  ///< connected again; the guest runs there
  kRecover,          ///< an operator wants another try
  kFence,            ///< an operator knows that the target is dead
};

/// What the session must do on a transition, in the order of the bits.
enum SourceAction : std::uint32_t {
  kActConnect = 1U << 0,
  kActSendHello = 1U << 1,
  kActDescribe = 1U << 2,
  kActStartRounds = 1U << 4,
  kActSendBarrier = 1U << 5,
  kActQuiesce = 1U << 6,
  kActSendState = 1U << 7,
  kActDecide = 1U << 8,  ///< record the decision; only then:
  kActSendCommit = 1U << 9,
  kActStream = 1U << 10,
  kActFinish = 1U << 11,
  kActSendCancel = 1U << 12,
  kActResume = 1U << 13,  ///< the guest goes on here
  kActHold = 1U << 14,    ///< keep everything; tell the operator
  kActClose = 1U << 15,
  kActDropLink = 1U << 16,  ///< end channels and their threads; claims are given back by the resync
  kActReconnect = 1U << 17,  ///< begin to dial
};

struct SourceTransition {
  SourceState from;
  SourceEvent event;
  SourceState to;
  std::uint32_t actions;
};

/// Bugs that the simulator plants to see itself find them.
struct SourceBugs {
  bool commit_before_ready = false;
};

/// The source's side of the handover as a table; sans I/O: no clock, no thread, no fd.
/// Guarantees: after kActDecide no transition carries kActResume except on kNotStarted and, by an
/// operator's word, kFence; and none kActDecide again.
class SourceMachine {
 public:
  explicit SourceMachine(SourceBugs bugs = {}) : bugs_(bugs) {}
  /// Takes the event; returns the transition, or null when the event is not legal in this state.
  const SourceTransition* on(SourceEvent event);
  [[nodiscard]] SourceState state() const { return state_; }
  /// The decision to commit is recorded: at most the target may run the guest.
  [[nodiscard]] bool decided() const { return decided_; }
  [[nodiscard]] bool ended() const;
  static std::span<const SourceTransition> table();

 private:
  SourceState state_ = SourceState::kIdle;
  bool decided_ = false;
  SourceBugs bugs_;
};

std::string_view to_string(SourceEvent event);

}  // namespace godwit::engine
