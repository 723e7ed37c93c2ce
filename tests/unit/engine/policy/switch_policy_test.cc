#include "policy/switch_policy.h"

#include <gtest/gtest.h>

#include "godwit/base/units.h"

namespace godwit::engine {
namespace {

SourceOptions with_mode(Mode mode) {
  SourceOptions options;
  options.mode = mode;
  return options;
}

RoundEnd round_end(std::uint32_t rounds,
                   std::uint64_t pending,
                   std::uint64_t previous,
                   double speed = 1e9) {
  return {rounds, pending, previous, speed, false};
}

TEST(JudgeRound, HybridSwitchesAfterItsRoundsOrWhenNothingIsGained) {
  auto options = with_mode(Mode::kHybrid);
  options.switch_after_rounds = 3;
  EXPECT_EQ(judge_round(options, round_end(1, 100, 0)), Verdict::kNextRound);
  EXPECT_EQ(judge_round(options, round_end(2, 50, 100)), Verdict::kNextRound);
  EXPECT_EQ(judge_round(options, round_end(3, 20, 50)), Verdict::kSwitchLive);
  EXPECT_EQ(judge_round(options, round_end(2, 100, 100)), Verdict::kSwitchLive);
  EXPECT_EQ(judge_round(options, round_end(1, 0, 0)), Verdict::kSwitchLive);
  auto asked = round_end(1, 100, 0);
  asked.switch_requested = true;
  EXPECT_EQ(judge_round(options, asked), Verdict::kSwitchLive);
}

TEST(JudgeRound, HybridSendsNoPageTwiceToATargetThatMaps) {
  auto options = with_mode(Mode::kHybrid);
  options.switch_after_rounds = 3;
  auto end = round_end(1, 100, 0);
  end.target_maps = true;
  EXPECT_EQ(judge_round(options, end), Verdict::kSwitchLive);
  options.mode = Mode::kPrecopy;
  options.downtime_limit_ns = 0;
  EXPECT_EQ(judge_round(options, end), Verdict::kNextRound);
}

TEST(RepeatsBarrier, OnlyWhereManyPagesWouldBeUnmappedAndNotForEver) {
  struct Case {
    BarrierEnd end;
    bool repeats;
  };
  for (const auto& [end, repeats] : {Case{{1, 257, true}, true},
                                     Case{{3, 1'000'000, true}, true},
                                     Case{{1, 256, true}, false},
                                     Case{{4, 1'000'000, true}, false},
                                     Case{{1, 1'000'000, false}, false},
                                     Case{{1, 0, true}, false}}) {
    EXPECT_EQ(repeats_barrier(end), repeats)
        << end.barriers_sent << ' ' << end.newly_pending_pages << ' ' << end.target_maps;
  }
}

TEST(JudgeRound, PrecopyStopsWhenTheRestFitsTheLimit) {
  auto options = with_mode(Mode::kPrecopy);
  options.downtime_limit_ns = 1'000'000;
  const double speed = 1e9;  // 1 ms carries 244 pages
  EXPECT_EQ(judge_round(options, round_end(1, 244, 0, speed)), Verdict::kSwitchPaused);
  EXPECT_EQ(judge_round(options, round_end(1, 245, 0, speed)), Verdict::kNextRound);
  EXPECT_EQ(judge_round(options, round_end(1, 1, 0, 0.0)), Verdict::kNextRound);
  EXPECT_EQ(judge_round(options, round_end(1, 0, 0, 0.0)), Verdict::kSwitchPaused);
}

TEST(JudgeRound, PrecopyThatDoesNotConvergeIsForcedOrGivenUp) {
  auto options = with_mode(Mode::kPrecopy);
  options.max_rounds = 5;
  const auto end = round_end(5, 1'000'000'000, 1'000'000'000);
  EXPECT_EQ(judge_round(options, end), Verdict::kSwitchPaused);
  options.on_no_convergence = OnNoConvergence::kFail;
  EXPECT_EQ(judge_round(options, end), Verdict::kGiveUp);
  EXPECT_EQ(judge_round(options, round_end(4, 1'000'000'000, 0)), Verdict::kNextRound);
}

TEST(JudgeRound, PostcopyAndStopAndCopySwitchAtOnce) {
  EXPECT_EQ(judge_round(with_mode(Mode::kPostcopy), round_end(0, 9, 0)), Verdict::kSwitchLive);
  EXPECT_EQ(judge_round(with_mode(Mode::kStopAndCopy), round_end(0, 9, 0)), Verdict::kSwitchPaused);
}

// However the dirty set behaves, the number of rounds is bounded: no migration goes on for ever.
TEST(JudgeRound, EndsForEveryModeAndAnyDirtySet) {
  for (const auto mode : {Mode::kHybrid, Mode::kPrecopy, Mode::kPostcopy, Mode::kStopAndCopy}) {
    const auto options = with_mode(mode);
    std::uint32_t rounds = 0;
    std::uint64_t previous = 0;
    for (;;) {
      const auto pending = previous == 0 ? 1'000'000'000 : previous - 1;
      if (judge_round(options, round_end(++rounds, pending, previous)) != Verdict::kNextRound) {
        break;
      }
      previous = pending;
      ASSERT_LE(rounds, options.max_rounds) << mode_name(mode);
    }
  }
}

}  // namespace
}  // namespace godwit::engine
