#include "policy/timeouts.h"

#include <gtest/gtest.h>

namespace godwit::engine {
namespace {

constexpr std::int64_t kTimeout = 5'000'000'000;

TEST(Patience, TheSourceWaitsWithoutLimitOnlyBetweenDecisionAndEnd) {
  for (int number = 1; number <= static_cast<int>(SourceState::kFailed); ++number) {
    const auto state = static_cast<SourceState>(number);
    const bool decided = state == SourceState::kHandover || state == SourceState::kPostcopy ||
                         state == SourceState::kDraining;
    EXPECT_EQ(patience_ns(state, kTimeout, 0), decided ? std::nullopt : std::optional(kTimeout))
        << to_string(state);
  }
}

TEST(Patience, ATargetThatPopulatesHasTimeForItsMemory) {
  // 256 MiB at 256 bytes a microsecond: a second and a little.
  EXPECT_EQ(patience_ns(SourceState::kSetup, kTimeout, 256'000'000), kTimeout + 1'000'000'000);
  EXPECT_EQ(patience_ns(SourceState::kPrecopy, kTimeout, 256'000'000), kTimeout);
  EXPECT_GT(*patience_ns(SourceState::kSetup, kTimeout, 64ULL << 40), 0) << "64 TiB";
}

TEST(Patience, TheTargetWaitsWithoutLimitWhereOnlyTheSourceMayDecide) {
  for (int number = 1; number <= static_cast<int>(TargetState::kFailed); ++number) {
    const auto state = static_cast<TargetState>(number);
    const bool for_ever = state == TargetState::kListening || state == TargetState::kReady ||
                          state == TargetState::kRunning;
    EXPECT_EQ(patience_ns(state, kTimeout), for_ever ? std::nullopt : std::optional(kTimeout))
        << to_string(state);
  }
}

}  // namespace
}  // namespace godwit::engine
