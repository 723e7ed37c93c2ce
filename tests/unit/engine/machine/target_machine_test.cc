#include "machine/target_machine.h"

#include <bit>
#include <set>

#include <gtest/gtest.h>

#include "machine_support.h"

namespace godwit::engine {
namespace {

TEST(TargetMachine, EveryStateIsReachedAndEveryPairIsListedOnceOrRefused) {
  expect_whole_table<TargetMachine>(TargetState::kUnconfirmed, TargetEvent::kRunRefused);
}

TEST(TargetMachine, ExactlyOneRowRunsTheGuest) {
  unsigned rows = 0;
  for (const auto& row : TargetMachine::table()) {
    if ((row.actions & kTgtRun) != 0) {
      ++rows;
      EXPECT_EQ(row.from, TargetState::kReady);
      EXPECT_EQ(row.event, TargetEvent::kCommit);
    }
    EXPECT_EQ(row.to == TargetState::kRunning && row.from != TargetState::kResync,
              (row.actions & kTgtRun) != 0);
  }
  EXPECT_EQ(rows, 1U);
}

bool before_ready(TargetState state) {
  return state < TargetState::kReady;
}

// Once READY is out, only the source's own word lets the target throw the guest away, and once the
// guest has run nothing does.
TEST(TargetMachine, AfterReadyNothingIsDiscardedWithoutTheSourcesWord) {
  for (const auto& row : TargetMachine::table()) {
    if (before_ready(row.from) || (row.actions & kTgtDiscard) == 0) {
      continue;
    }
    if (row.event == TargetEvent::kRunRefused) {
      EXPECT_NE(row.actions & kTgtSendNotStarted, 0U) << "nothing has run: the source may go on";
      continue;
    }
    EXPECT_EQ(row.from, TargetState::kReady) << to_string(row.event);
    EXPECT_TRUE(row.event == TargetEvent::kCancel || row.event == TargetEvent::kPeerAbort);
  }
}

TEST(TargetMachine, ASourceThatComesBackIsTakenInEveryStateThatDependsOnIt) {
  for (const auto& [state, events] : ways<TargetMachine>()) {
    auto machine = machine_after<TargetMachine>(events);
    if (machine.ended() || before_ready(state)) {
      continue;
    }
    const auto* row = machine.on(TargetEvent::kResumed);
    ASSERT_NE(row, nullptr) << to_string(state);
    EXPECT_NE(row->actions & kTgtTakeLink, 0U);
    EXPECT_EQ(row->actions & kTgtRun, 0U);
  }
}

TEST(TargetMachine, EveryEndCompletesDiscardsOrHolds) {
  constexpr std::uint32_t kEnds = kTgtDiscard | kTgtHold;
  for (const auto& row : TargetMachine::table()) {
    const bool gone = row.to == TargetState::kCancelled || row.to == TargetState::kFailed ||
                      row.to == TargetState::kSuspended || row.to == TargetState::kInDoubt;
    EXPECT_EQ(std::popcount(row.actions & kEnds), gone ? 1 : 0)
        << to_string(row.from) << " + " << to_string(row.event);
    EXPECT_EQ((row.actions & kTgtComplete) != 0, row.event == TargetEvent::kAllPresent);
    if (row.to == TargetState::kCompleted) {
      EXPECT_TRUE(row.from == TargetState::kConfirming || row.from == TargetState::kUnconfirmed);
    }
  }
}

bool waits_for_link(TargetState state) {
  return state == TargetState::kReconnecting || state == TargetState::kUndecided ||
         state == TargetState::kUnconfirmed;
}

TEST(TargetMachine, LinkLossLeavesEveryStateThatHasALink) {
  for (const auto& [state, events] : ways<TargetMachine>()) {
    auto machine = machine_after<TargetMachine>(events);
    if (state == TargetState::kListening || machine.ended() || waits_for_link(state)) {
      continue;
    }
    EXPECT_NE(machine.on(TargetEvent::kLinkLost), nullptr) << to_string(state);
    EXPECT_TRUE(machine.ended() || waits_for_link(machine.state())) << to_string(state);
    if (!machine.ended()) {
      EXPECT_NE(machine.on(TargetEvent::kTimeout), nullptr) << to_string(state);
      EXPECT_TRUE(machine.ended()) << to_string(state);
    }
  }
}

TEST(TargetMachine, NamesEveryStateAndEvent) {
  std::set<std::string_view> names;
  for (int s = 1; s <= static_cast<int>(TargetState::kUnconfirmed); ++s) {
    EXPECT_TRUE(names.insert(to_string(static_cast<TargetState>(s))).second);
  }
  for (int e = 1; e <= static_cast<int>(TargetEvent::kRunRefused); ++e) {
    EXPECT_FALSE(to_string(static_cast<TargetEvent>(e)).empty());
  }
  EXPECT_EQ(to_string(TargetState::kInDoubt), "in-doubt");
  EXPECT_EQ(to_string(TargetState::kUnconfirmed), "unconfirmed");
  EXPECT_EQ(to_string(TargetEvent::kFinish), "finish");
}

}  // namespace
}  // namespace godwit::engine
