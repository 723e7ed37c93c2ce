#pragma once

#include <array>
#include <cstdint>

#include "godwit/base/names.h"
#include "godwit/engine/options.h"

namespace godwit::app {

enum class GuestChoice : std::uint8_t { kAuto = 1, kKvm, kProcess };
inline constexpr Names kGuestChoiceNames{std::array{Named{GuestChoice::kAuto, "auto"},
                                                    Named{GuestChoice::kKvm, "kvm"},
                                                    Named{GuestChoice::kProcess, "process"}}};

enum class TransportChoice : std::uint8_t { kAuto = 1, kUring, kPoll };
inline constexpr Names kTransportChoiceNames{std::array{Named{TransportChoice::kAuto, "auto"},
                                                        Named{TransportChoice::kUring, "uring"},
                                                        Named{TransportChoice::kPoll, "poll"}}};

/// A planted fault as the user names it; which page it hits is decided later, by the seed.
struct PlantedFault {
  engine::InjectedFault fault = engine::InjectedFault::kNone;
  std::int64_t delay_ns = 0;  ///< of blackout-delay and fault-delay
};
/// All but kNone.
inline constexpr Names kPlantedFaultNames{
    std::array{Named{engine::InjectedFault::kFlipBit, "flip-bit"},
               Named{engine::InjectedFault::kDropPage, "drop-page"},
               Named{engine::InjectedFault::kStalePage, "stale-page"},
               Named{engine::InjectedFault::kSkipRegister, "skip-register"},
               Named{engine::InjectedFault::kBlackoutDelay, "blackout-delay"},
               Named{engine::InjectedFault::kFaultDelay, "fault-delay"},
               Named{engine::InjectedFault::kCutBeforeCommit, "cut-before-commit"},
               Named{engine::InjectedFault::kCutAfterCommit, "cut-after-commit"}}};

}  // namespace godwit::app
