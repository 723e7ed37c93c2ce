#include "policy/timeouts.h"

#include <gtest/gtest.h>

namespace godwit::engine {
namespace {

constexpr std::int64_t kTimeout = 5'000'000'000;
constexpr std::int64_t kStall = 7'000'000'000;
constexpr Patience kHolds{.timeout_ns = kTimeout, .stall_ns = kStall, .recovers = false};
constexpr Patience kRecovers{.timeout_ns = kTimeout, .stall_ns = kStall, .recovers = true};

TEST(Patience, BetweenDecisionAndEndTheSourceEndsALinkAtMost) {
  for (int number = 1; number <= static_cast<int>(SourceState::kRevoking); ++number) {
    const auto state = static_cast<SourceState>(number);
    const bool decided = state == SourceState::kHandover || state == SourceState::kPostcopy ||
                         state == SourceState::kDraining;
    const bool dials = state == SourceState::kReconnecting;
    EXPECT_EQ(patience_ns(state, kHolds, 0),
              decided || dials ? std::nullopt : std::optional(kTimeout))
        << to_string(state);
    EXPECT_EQ(patience_ns(state, kRecovers, 0),
              dials ? std::nullopt : std::optional(decided ? kStall : kTimeout))
        << to_string(state);
  }
}

TEST(Patience, ATargetThatPopulatesHasTimeForItsMemory) {
  // 256 MiB at 256 bytes a microsecond: a second and a little.
  EXPECT_EQ(patience_ns(SourceState::kSetup, kHolds, 256'000'000), kTimeout + 1'000'000'000);
  EXPECT_EQ(patience_ns(SourceState::kPrecopy, kHolds, 256'000'000), kTimeout);
  EXPECT_GT(*patience_ns(SourceState::kSetup, kHolds, 64ULL << 40), 0) << "64 TiB";
}

TEST(Patience, TheTargetWaitsWithoutLimitWhereOnlyTheSourceMayDecide) {
  for (int number = 1; number <= static_cast<int>(TargetState::kFailed); ++number) {
    const auto state = static_cast<TargetState>(number);
    const bool for_ever = state == TargetState::kListening || state == TargetState::kReady ||
                          state == TargetState::kRunning;
    for (const auto& patience : {kHolds, kRecovers}) {
      EXPECT_EQ(patience_ns(state, patience), for_ever ? std::nullopt : std::optional(kTimeout))
          << to_string(state);
    }
  }
}

TEST(Patience, ALostLinkIsWaitedForWhereItCanComeBackAndNotAtAllElsewhere) {
  for (const auto state : {TargetState::kReconnecting, TargetState::kUndecided}) {
    EXPECT_EQ(patience_ns(state, kHolds), 0) << to_string(state);
    EXPECT_EQ(patience_ns(state, kRecovers), std::nullopt) << to_string(state);
  }
  EXPECT_EQ(patience_ns(TargetState::kUnconfirmed, kHolds), 0);
  EXPECT_EQ(patience_ns(TargetState::kUnconfirmed, kRecovers), kUnconfirmedNs);
  EXPECT_EQ(patience_ns(TargetState::kConfirming, kHolds), kFlushNs);
  EXPECT_EQ(patience_ns(TargetState::kConfirming, kRecovers), kStall);
}

}  // namespace
}  // namespace godwit::engine
