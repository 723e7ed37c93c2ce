#include "machine/target_machine.h"

#include <bit>
#include <set>

#include <gtest/gtest.h>

#include "machine_support.h"

namespace godwit::engine {
namespace {

TEST(TargetMachine, EveryStateIsReachedAndEveryPairIsListedOnceOrRefused) {
  expect_whole_table<TargetMachine>(TargetState::kFailed, TargetEvent::kLocalError);
}

TEST(TargetMachine, ExactlyOneRowRunsTheGuest) {
  unsigned rows = 0;
  for (const auto& row : TargetMachine::table()) {
    if ((row.actions & kTgtRun) != 0) {
      ++rows;
      EXPECT_EQ(row.from, TargetState::kReady);
      EXPECT_EQ(row.event, TargetEvent::kCommit);
    }
    EXPECT_EQ(row.to == TargetState::kRunning, (row.actions & kTgtRun) != 0);
  }
  EXPECT_EQ(rows, 1U);
}

// Once READY is out, only the source's own word lets the target throw the guest away.
TEST(TargetMachine, AfterReadyNothingIsDiscardedWithoutTheSourcesWord) {
  for (const auto& row : TargetMachine::table()) {
    if (row.from == TargetState::kReady && (row.actions & kTgtDiscard) != 0) {
      EXPECT_TRUE(row.event == TargetEvent::kCancel || row.event == TargetEvent::kPeerAbort);
    }
    if (row.from == TargetState::kRunning) {
      EXPECT_EQ(row.actions & kTgtDiscard, 0U) << to_string(row.event);
    }
  }
}

TEST(TargetMachine, EveryEndCompletesDiscardsOrHolds) {
  constexpr std::uint32_t kEnds = kTgtComplete | kTgtDiscard | kTgtHold;
  for (const auto& row : TargetMachine::table()) {
    const bool end = row.to >= TargetState::kCompleted;
    EXPECT_EQ(std::popcount(row.actions & kEnds), end ? 1 : 0)
        << to_string(row.from) << " + " << to_string(row.event);
  }
}

TEST(TargetMachine, LinkLossEndsEveryStateThatHasALink) {
  for (const auto& [state, events] : ways<TargetMachine>()) {
    auto machine = machine_after<TargetMachine>(events);
    if (state == TargetState::kListening || machine.ended()) {
      continue;
    }
    EXPECT_NE(machine.on(TargetEvent::kLinkLost), nullptr) << to_string(state);
    EXPECT_TRUE(machine.ended()) << to_string(state);
  }
}

TEST(TargetMachine, NamesEveryStateAndEvent) {
  std::set<std::string_view> names;
  for (int s = 1; s <= static_cast<int>(TargetState::kFailed); ++s) {
    EXPECT_TRUE(names.insert(to_string(static_cast<TargetState>(s))).second);
  }
  for (int e = 1; e <= static_cast<int>(TargetEvent::kLocalError); ++e) {
    EXPECT_FALSE(to_string(static_cast<TargetEvent>(e)).empty());
  }
  EXPECT_EQ(to_string(TargetState::kInDoubt), "in-doubt");
  EXPECT_EQ(to_string(TargetEvent::kLocalError), "local-error");
}

}  // namespace
}  // namespace godwit::engine
