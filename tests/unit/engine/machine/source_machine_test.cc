#include "machine/source_machine.h"

#include <set>

#include <gtest/gtest.h>

#include "machine_support.h"

namespace godwit::engine {
namespace {

TEST(SourceMachine, EveryStateIsReachedAndEveryPairIsListedOnceOrRefused) {
  expect_whole_table<SourceMachine>(SourceState::kFailed, SourceEvent::kLocalError);
}

/// States in which the decision is recorded: all that follow a row with kActDecide.
std::set<SourceState> decided_states() {
  std::set<SourceState> decided;
  for (bool grew = true; grew;) {
    grew = false;
    for (const auto& row : SourceMachine::table()) {
      // NOT_STARTED binds the target never to run: it takes the decision back.
      if (((row.actions & kActDecide) != 0 || decided.count(row.from) != 0) &&
          row.event != SourceEvent::kNotStarted) {
        grew = decided.insert(row.to).second || grew;
      }
    }
  }
  return decided;
}

TEST(SourceMachine, NeverResumesAfterTheDecisionExceptOnNotStarted) {
  const auto decided = decided_states();
  EXPECT_EQ(decided.count(SourceState::kHandover), 1U);
  EXPECT_EQ(decided.count(SourceState::kRolledBack), 0U);
  for (const auto& row : SourceMachine::table()) {
    if (decided.count(row.from) != 0) {
      EXPECT_TRUE((row.actions & kActResume) == 0 || row.event == SourceEvent::kNotStarted)
          << to_string(row.from) << " + " << to_string(row.event);
    }
  }
}

TEST(SourceMachine, CommitLeavesOnlyWithTheDecisionAndOnlyOnReady) {
  unsigned rows = 0;
  for (const auto& row : SourceMachine::table()) {
    if ((row.actions & (kActDecide | kActSendCommit)) != 0) {
      ++rows;
      EXPECT_EQ(row.actions & (kActDecide | kActSendCommit), kActDecide | kActSendCommit);
      EXPECT_EQ(row.event, SourceEvent::kReady);
    }
  }
  EXPECT_EQ(rows, 1U);
}

// Before the decision every failure ends with the guest here: whoever stopped it starts it.
TEST(SourceMachine, EveryUndecidedFailureResumesAndEveryDecidedOneHolds) {
  const auto decided = decided_states();
  for (const auto& row : SourceMachine::table()) {
    const bool failure =
        row.event == SourceEvent::kLinkLost || row.event == SourceEvent::kPeerAbort ||
        row.event == SourceEvent::kLocalError || row.event == SourceEvent::kTimeout;
    if (!failure) {
      continue;
    }
    if (decided.count(row.from) != 0) {
      EXPECT_EQ(row.to, SourceState::kSuspended);
      EXPECT_NE(row.actions & kActHold, 0U);
    } else if (row.to == SourceState::kRolledBack && row.from != SourceState::kCancelling) {
      EXPECT_NE(row.actions & kActResume, 0U)
          << to_string(row.from) << " + " << to_string(row.event);
    }
  }
}

TEST(SourceMachine, ClosesOnEveryWayToAnEndAndNowhereElse) {
  for (const auto& row : SourceMachine::table()) {
    const bool end = row.to == SourceState::kCompleted || row.to == SourceState::kRolledBack ||
                     row.to == SourceState::kFailed || row.to == SourceState::kSuspended;
    EXPECT_EQ((row.actions & kActClose) != 0, end)
        << to_string(row.from) << " + " << to_string(row.event);
  }
}

TEST(SourceMachine, LinkLossEndsEveryStateThatHasALink) {
  for (const auto& [state, events] : ways<SourceMachine>()) {
    auto machine = machine_after<SourceMachine>(events);
    if (state == SourceState::kIdle || machine.ended()) {
      continue;
    }
    EXPECT_NE(machine.on(SourceEvent::kLinkLost), nullptr) << to_string(state);
    EXPECT_TRUE(machine.ended()) << to_string(state);
  }
}

TEST(SourceMachine, ThePlantedBugCommitsEarlyAndOnlyWhenPlanted) {
  const auto events = ways<SourceMachine>()[SourceState::kStateTransfer];
  SourceMachine sound = machine_after<SourceMachine>(events);
  EXPECT_EQ(sound.on(SourceEvent::kQuiesced), nullptr);
  SourceMachine bad(SourceBugs{.commit_before_ready = true});
  for (const auto event : events) {
    ASSERT_NE(bad.on(event), nullptr);
  }
  EXPECT_FALSE(bad.decided());
  ASSERT_NE(bad.on(SourceEvent::kQuiesced), nullptr);
  EXPECT_TRUE(bad.decided());
}

TEST(SourceMachine, NamesEveryStateAndEvent) {
  std::set<std::string_view> names;
  for (int s = 1; s <= static_cast<int>(SourceState::kFailed); ++s) {
    EXPECT_TRUE(names.insert(to_string(static_cast<SourceState>(s))).second);
  }
  for (int e = 1; e <= static_cast<int>(SourceEvent::kLocalError); ++e) {
    EXPECT_FALSE(to_string(static_cast<SourceEvent>(e)).empty());
  }
  EXPECT_EQ(to_string(SourceState::kRolledBack), "rolled-back");
  EXPECT_EQ(to_string(SourceEvent::kLocalError), "local-error");
}

}  // namespace
}  // namespace godwit::engine
