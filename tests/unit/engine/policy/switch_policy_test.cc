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

RoundEnd round_end(std::uint32_t rounds, std::uint64_t pending, std::uint64_t previous) {
  return {.rounds_done = rounds, .pending_pages = pending, .previous_pending_pages = previous};
}

RoundEnd expecting(std::optional<std::int64_t> blackout_ns, RoundEnd end) {
  end.blackout_ns = blackout_ns;
  return end;
}

Verdict verdict_of(const SourceOptions& options, const RoundEnd& end) {
  return judge_round(options, end).verdict;
}

SwitchReason reason_of(const SourceOptions& options, const RoundEnd& end) {
  return judge_round(options, end).reason;
}

TEST(JudgeRound, HybridSwitchesAfterItsRoundsOrWhenNothingIsGained) {
  auto options = with_mode(Mode::kHybrid);
  options.switch_after_rounds = 3;
  EXPECT_EQ(verdict_of(options, round_end(1, 100, 0)), Verdict::kNextRound);
  EXPECT_EQ(verdict_of(options, round_end(2, 50, 100)), Verdict::kNextRound);
  EXPECT_EQ(verdict_of(options, round_end(3, 20, 50)), Verdict::kSwitchLive);
  EXPECT_EQ(verdict_of(options, round_end(2, 100, 100)), Verdict::kSwitchLive);
  EXPECT_EQ(verdict_of(options, round_end(1, 0, 0)), Verdict::kSwitchLive);
  auto asked = round_end(1, 100, 0);
  asked.switch_requested = true;
  EXPECT_EQ(verdict_of(options, asked), Verdict::kSwitchLive);
}

TEST(JudgeRound, HybridSendsNoPageTwiceToATargetThatMaps) {
  auto options = with_mode(Mode::kHybrid);
  options.switch_after_rounds = 3;
  auto end = round_end(1, 100, 0);
  end.target_maps = true;
  EXPECT_EQ(verdict_of(options, end), Verdict::kSwitchLive);
  options.mode = Mode::kPrecopy;
  options.downtime_limit_ns = 0;
  EXPECT_EQ(verdict_of(options, end), Verdict::kNextRound);
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

TEST(JudgeRound, HybridSaysWhyItSwitches) {
  auto options = with_mode(Mode::kHybrid);
  options.switch_after_rounds = 3;
  EXPECT_EQ(reason_of(options, round_end(1, 100, 0)), SwitchReason::kNone);
  EXPECT_EQ(reason_of(options, round_end(3, 20, 50)), SwitchReason::kRounds);
  EXPECT_EQ(reason_of(options, round_end(2, 100, 100)), SwitchReason::kNotShrinking);
  EXPECT_EQ(reason_of(options, round_end(1, 0, 0)), SwitchReason::kNothingLeft);
  auto end = round_end(1, 100, 0);
  end.target_maps = true;
  EXPECT_EQ(reason_of(options, end), SwitchReason::kTargetMaps);
  end.switch_requested = true;
  EXPECT_EQ(reason_of(options, end), SwitchReason::kRequested);
}

TEST(JudgeRound, PrecopyStopsWhenTheBlackoutFitsTheLimit) {
  auto options = with_mode(Mode::kPrecopy);
  options.downtime_limit_ns = 1'000'000;
  const auto fits = judge_round(options, expecting(1'000'000, round_end(1, 244, 0)));
  EXPECT_EQ(fits.verdict, Verdict::kSwitchPaused);
  EXPECT_EQ(fits.reason, SwitchReason::kFits);
  EXPECT_EQ(verdict_of(options, expecting(1'000'001, round_end(1, 245, 0))), Verdict::kNextRound);
  EXPECT_EQ(verdict_of(options, round_end(1, 1, 0)), Verdict::kNextRound) << "nothing is known";
}

TEST(JudgeRound, PrecopyThatDoesNotConvergeIsForcedOrGivenUp) {
  auto options = with_mode(Mode::kPrecopy);
  options.max_rounds = 5;
  constexpr std::int64_t kTooLong = 1'000'000'000;
  const auto last = expecting(kTooLong, round_end(5, 1'000, 1'000));
  auto stalled = expecting(kTooLong, round_end(4, 1'000, 1'000));
  stalled.stalled_rounds = 4;
  // Round trips, sync and state alone are over the limit: no further round can help.
  const auto nothing_left = expecting(kTooLong, round_end(2, 0, 1'000));
  for (const auto& end : {last, stalled, nothing_left}) {
    options.on_no_convergence = OnNoConvergence::kForce;
    EXPECT_EQ(verdict_of(options, end), Verdict::kSwitchPaused);
    EXPECT_EQ(reason_of(options, end), SwitchReason::kNotConverging);
    options.on_no_convergence = OnNoConvergence::kFail;
    EXPECT_EQ(verdict_of(options, end), Verdict::kGiveUp);
  }
  stalled.stalled_rounds = 3;
  EXPECT_EQ(verdict_of(options, stalled), Verdict::kNextRound);
}

TEST(Convergence, CountsRoundsThatLeaveNoLess) {
  Convergence convergence;
  convergence.note({.pages = 1000}, 500);
  EXPECT_EQ(convergence.stalled_rounds(), 0U);
  EXPECT_TRUE(convergence.shrinks());
  convergence.note({.pages = 500}, 490);
  EXPECT_EQ(convergence.stalled_rounds(), 1U) << "less, but hardly";
  EXPECT_TRUE(convergence.shrinks());
  convergence.note({.pages = 490}, 600);
  EXPECT_EQ(convergence.stalled_rounds(), 2U);
  EXPECT_FALSE(convergence.shrinks());
  convergence.note({.pages = 600}, 100);
  EXPECT_EQ(convergence.stalled_rounds(), 0U);
}

TEST(RoundRates, ArePagesASecond) {
  const RoundReport round{.pages = 1000, .ns = 500'000'000, .dirtied_pages = 200};
  EXPECT_DOUBLE_EQ(moved_per_s(round), 2000);
  EXPECT_DOUBLE_EQ(dirtied_per_s(round), 400);
  EXPECT_DOUBLE_EQ(moved_per_s({.pages = 1}), 0) << "no time, no rate";
}

TEST(JudgeRound, PostcopyAndStopAndCopySwitchAtOnce) {
  EXPECT_EQ(verdict_of(with_mode(Mode::kPostcopy), round_end(0, 9, 0)), Verdict::kSwitchLive);
  EXPECT_EQ(verdict_of(with_mode(Mode::kStopAndCopy), round_end(0, 9, 0)), Verdict::kSwitchPaused);
}

// However the dirty set behaves, the number of rounds is bounded: no migration goes on for ever.
TEST(JudgeRound, EndsForEveryModeAndAnyDirtySet) {
  for (const auto mode : {Mode::kHybrid, Mode::kPrecopy, Mode::kPostcopy, Mode::kStopAndCopy}) {
    const auto options = with_mode(mode);
    std::uint32_t rounds = 0;
    std::uint64_t previous = 0;
    for (;;) {
      const auto pending = previous == 0 ? 1'000'000'000 : previous - 1;
      if (verdict_of(options, round_end(++rounds, pending, previous)) != Verdict::kNextRound) {
        break;
      }
      previous = pending;
      ASSERT_LE(rounds, options.max_rounds) << mode_name(mode);
    }
  }
}

}  // namespace
}  // namespace godwit::engine
