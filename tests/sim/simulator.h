#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "godwit/engine/options.h"
#include "godwit/engine/ports/placing.h"

#include "fake_guest.h"
#include "link_model.h"
#include "machine/source_machine.h"
#include "machine/target_machine.h"

namespace godwit::sim {

enum class DirtyKind : std::uint8_t { kLog, kRing, kWriteProtect };

/// What goes wrong in a run, once, a moment after a side has entered a state.
enum class Mishap : std::uint8_t {
  kNone,
  kCutBoth,
  kCutToTarget,
  kCutToSource,
  kStall,
  kCancelSource,
  kCancelTarget,
  kSourceError,
  kLoadError,
  kRefusal,
  kSwitchNow,
};

/// Bugs that are planted to see the simulator find them.
struct SimBugs {
  engine::SourceBugs source;
  bool publish_before_reset = false;  ///< dirty ring
  bool clear_after_read = false;      ///< dirty log
  bool skip_barrier = false;          ///< the guest stops while pre-copy pages are in flight
  /// The source sends a frame of pre-copy once more after the switch.
  bool late_precopy_frame = false;
  bool accept_late_precopy = false;  ///< the target takes it
  bool no_chunk_rule = false;        ///< stale pages are announced on any bulk channel
  bool skip_claim = false;           ///< the target writes a page without having claimed it
  bool skip_retract = false;         ///< the target leaves what became old in the page table
  bool keep_claims = false;          ///< what a lost link had is not given back
  bool old_missing = false;          ///< the target tells what was missing in the epoch before
  [[nodiscard]] bool any() const {
    return source.commit_before_ready || publish_before_reset || clear_after_read || skip_barrier ||
           late_precopy_frame || accept_late_precopy || no_chunk_rule || skip_claim ||
           skip_retract || keep_claims || old_missing;
  }
};

/// One migration to simulate; everything in it follows from the seed.
struct Scenario {
  std::uint64_t seed = 0;
  std::vector<std::uint64_t> region_pages;
  unsigned populated_percent = 50;
  engine::SourceOptions options;
  DirtyKind dirty = DirtyKind::kLog;
  FakeGuest::Options guest;
  LinkOptions link;
  Ns timeout_ns = 0;
  Mishap mishap = Mishap::kNone;
  bool trigger_at_target = false;
  engine::SourceState source_trigger = engine::SourceState::kIdle;
  engine::TargetState target_trigger = engine::TargetState::kListening;
  Ns mishap_delay_ns = 0;
  Ns stall_ns = 0;
  bool recovers = false;  ///< both sides take up a link that is lost after READY
  unsigned cuts = 1;      ///< of a mishap that cuts: so many times, each on the link of that moment
  Ns between_cuts_ns = 0;
  Ns outage_ns = 0;
  engine::Placing placing = engine::Placing::kBehind;
  SimBugs bugs;

  static Scenario from_seed(std::uint64_t seed, SimBugs bugs = {});
  [[nodiscard]] std::string describe() const;
};

/// How a simulated migration ended.
struct Outcome {
  std::vector<std::string> violations;
  engine::SourceState source = engine::SourceState::kIdle;
  engine::TargetState target = engine::TargetState::kListening;
  std::uint64_t overtaken = 0;   ///< pages sent on both channels
  std::uint64_t demand = 0;      ///< pages that the guest waited for
  std::uint64_t resent = 0;      ///< pages of pre-copy beyond the first copy
  std::uint64_t recovered = 0;   ///< links that came back
  std::uint64_t sent_again = 0;  ///< pages that were lost with a link
  Ns ended_at = 0;
};

/// Runs one migration in virtual time and checks every promise at every event.
Outcome simulate(const Scenario& scenario);

}  // namespace godwit::sim
