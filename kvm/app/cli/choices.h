#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "godwit/base/names.h"
#include "godwit/engine/options.h"
#include "godwit/vmm/guest.h"

namespace godwit::app {

enum class GuestChoice : std::uint8_t { kAuto = 1, kKvm, kProcess };
inline constexpr Names kGuestChoiceNames{std::array{Named{GuestChoice::kAuto, "auto"},
                                                    Named{GuestChoice::kKvm, "kvm"},
                                                    Named{GuestChoice::kProcess, "process"}}};

enum class TransportChoice : std::uint8_t { kAuto = 1, kUring, kPoll };
inline constexpr Names kTransportChoiceNames{std::array{Named{TransportChoice::kAuto, "auto"},
                                                        Named{TransportChoice::kUring, "uring"},
                                                        Named{TransportChoice::kPoll, "poll"}}};

/// What a test plants on purpose; the guest or a checksum must catch each.
enum class PlantedKind : std::uint8_t {
  kNone = 0,
  kFlipBit,
  kDropPage,
  kStalePage,
  kSkipRegister,
  kBlackoutDelay,
  kFaultDelay,
  kCutBeforeCommit,
  kCutAfterCommit,
  kOutage
};

/// A planted fault as the user names it; which page it hits is decided later, by the seed.
struct PlantedFault {
  PlantedKind fault = PlantedKind::kNone;
  std::int64_t delay_ns = 0;  ///< of blackout-delay, fault-delay and outage
};
/// All but kNone.
inline constexpr Names kPlantedFaultNames{
    std::array{Named{PlantedKind::kFlipBit, "flip-bit"},
               Named{PlantedKind::kDropPage, "drop-page"},
               Named{PlantedKind::kStalePage, "stale-page"},
               Named{PlantedKind::kSkipRegister, "skip-register"},
               Named{PlantedKind::kBlackoutDelay, "blackout-delay"},
               Named{PlantedKind::kFaultDelay, "fault-delay"},
               Named{PlantedKind::kCutBeforeCommit, "cut-before-commit"},
               Named{PlantedKind::kCutAfterCommit, "cut-after-commit"},
               Named{PlantedKind::kOutage, "outage"}}};

/// What the options say of a guest. The three sizes have defaults that depend on each other:
/// finish_guest() puts all of them into `config`.
struct GuestSettings {
  GuestChoice choice = GuestChoice::kAuto;
  std::optional<std::uint64_t> memory_bytes, populated_bytes, working_set_bytes;
  vmm::GuestConfig config;  ///< its kind is decided by resolve_kind()
};

/// Longer than a bridge or a bond takes to fail over (30 to 50 s).
inline constexpr std::int64_t kRecoverForNs = 300'000'000'000;

/// How one migration is done: what `migrate` and `demo` ask of the process that runs the guest.
struct MigrationSettings {
  engine::SourceOptions source;  ///< without what is planted; recover_for_ns: see recover_for()
  PlantedFault planted;
  std::string congestion = "auto";
  std::optional<TransportChoice> transport;  ///< unset: what the guest's process was started with
  bool floors = false;
  bool timeline = false;
  std::optional<std::int64_t> recover_for_ns;
};

/// How long a lost link is dialled again. A link that a fault cuts is cut for good, unless the user
/// says otherwise.
inline std::int64_t recover_for(const MigrationSettings& settings) {
  const auto fault = settings.planted.fault;
  const bool cut = fault == PlantedKind::kCutBeforeCommit || fault == PlantedKind::kCutAfterCommit;
  return settings.recover_for_ns.value_or(cut ? 0 : kRecoverForNs);
}

}  // namespace godwit::app
