#include "machine/source_machine.h"

#include <set>

#include <gtest/gtest.h>

#include "machine_support.h"

namespace godwit::engine {
namespace {

TEST(SourceMachine, EveryStateIsReachedAndEveryPairIsListedOnceOrRefused) {
  expect_whole_table<SourceMachine>(SourceState::kRevoking, SourceEvent::kFence);
}

/// States in which the decision is recorded: all that follow a row with kActDecide.
std::set<SourceState> decided_states() {
  std::set<SourceState> decided;
  for (bool grew = true; grew;) {
    grew = false;
    for (const auto& row : SourceMachine::table()) {
      // NOT_STARTED binds the target never to run, and a fence says that it cannot: they take the
      // decision back.
      if (((row.actions & kActDecide) != 0 || decided.count(row.from) != 0) &&
          row.event != SourceEvent::kNotStarted && row.event != SourceEvent::kFence) {
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
      EXPECT_TRUE((row.actions & kActResume) == 0 || row.event == SourceEvent::kNotStarted ||
                  row.event == SourceEvent::kFence)
          << to_string(row.from) << " + " << to_string(row.event);
    }
  }
}

TEST(SourceMachine, CommitLeavesOnlyWithTheDecisionAndAgainOnlyAfterIt) {
  const auto decided = decided_states();
  unsigned decisions = 0;
  unsigned again = 0;
  for (const auto& row : SourceMachine::table()) {
    if ((row.actions & kActDecide) != 0) {
      ++decisions;
      EXPECT_NE(row.actions & kActSendCommit, 0U);
      EXPECT_EQ(row.event, SourceEvent::kReady);
      EXPECT_EQ(decided.count(row.from), 0U);
    } else if ((row.actions & kActSendCommit) != 0) {
      ++again;
      EXPECT_EQ(row.event, SourceEvent::kResyncedReady);
      EXPECT_EQ(decided.count(row.from), 1U);
    }
  }
  EXPECT_EQ(decisions, 1U);
  EXPECT_EQ(again, 1U);
}

// What a lost link leads to after the decision: dialling, and an end only when that is over.
TEST(SourceMachine, ADecidedLossIsDialledAgainAndOnlyGivingUpHolds) {
  for (const auto state :
       {SourceState::kHandover, SourceState::kPostcopy, SourceState::kDraining}) {
    auto machine = machine_after<SourceMachine>(ways<SourceMachine>()[state]);
    const auto* row = machine.on(SourceEvent::kLinkLost);
    ASSERT_NE(row, nullptr);
    EXPECT_EQ(row->to, SourceState::kReconnecting);
    EXPECT_EQ(row->actions, kActDropLink | kActReconnect);
    EXPECT_FALSE(machine.ended());
    row = machine.on(SourceEvent::kTimeout);
    ASSERT_NE(row, nullptr);
    EXPECT_EQ(row->to, SourceState::kSuspended);
    EXPECT_TRUE(machine.ended());
    EXPECT_NE(machine.on(SourceEvent::kRecover), nullptr) << "by hand";
    EXPECT_NE(machine.on(SourceEvent::kConnected), nullptr);
    EXPECT_EQ(machine.state(), SourceState::kResync);
    EXPECT_TRUE(machine.decided());
  }
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
      const bool again = row.to == SourceState::kReconnecting;
      EXPECT_TRUE(again || row.to == SourceState::kSuspended);
      EXPECT_EQ((row.actions & kActHold) != 0, !again);
      EXPECT_EQ((row.actions & kActReconnect) != 0, again);
    } else if (row.to == SourceState::kRolledBack && row.from != SourceState::kCancelling &&
               row.from != SourceState::kRevoking) {
      EXPECT_NE(row.actions & kActResume, 0U)
          << to_string(row.from) << " + " << to_string(row.event);
    }
  }
}

TEST(SourceMachine, ClosesOnEveryWayToAnEndAndNowhereElse) {
  for (const auto& row : SourceMachine::table()) {
    const bool end = row.to == SourceState::kCompleted || row.to == SourceState::kRolledBack ||
                     row.to == SourceState::kFailed || row.to == SourceState::kSuspended;
    EXPECT_EQ((row.actions & kActClose) != 0, end && row.event != SourceEvent::kFence)
        << to_string(row.from) << " + " << to_string(row.event);
  }
}

TEST(SourceMachine, LinkLossLeavesEveryStateThatHasALink) {
  for (const auto& [state, events] : ways<SourceMachine>()) {
    auto machine = machine_after<SourceMachine>(events);
    if (state == SourceState::kIdle || machine.ended()) {
      continue;
    }
    if (state == SourceState::kReconnecting) {
      continue;  // it has no link
    }
    EXPECT_NE(machine.on(SourceEvent::kLinkLost), nullptr) << to_string(state);
    EXPECT_TRUE(machine.ended() || machine.state() == SourceState::kReconnecting ||
                machine.state() == SourceState::kRevoking)
        << to_string(state);
  }
}

// A target that may be ready is told, and the guest does not wait for that.
TEST(SourceMachine, ALossJustBeforeTheDecisionResumesAtOnceAndTellsTheTarget) {
  auto machine = machine_after<SourceMachine>(ways<SourceMachine>()[SourceState::kStateTransfer]);
  const auto* row = machine.on(SourceEvent::kLinkLost);
  ASSERT_NE(row, nullptr);
  EXPECT_EQ(row->to, SourceState::kRevoking);
  EXPECT_NE(row->actions & kActResume, 0U);
  EXPECT_FALSE(machine.decided());
  EXPECT_EQ(machine.on(SourceEvent::kReady), nullptr) << "too late";
  ASSERT_NE(machine.on(SourceEvent::kConnected), nullptr);
  row = machine.on(SourceEvent::kWelcome);
  ASSERT_NE(row, nullptr);
  EXPECT_EQ(row->actions, kActSendCancel);
  ASSERT_NE(machine.on(SourceEvent::kCancelAcked), nullptr);
  EXPECT_EQ(machine.state(), SourceState::kRolledBack);
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
  for (int s = 1; s <= static_cast<int>(SourceState::kRevoking); ++s) {
    EXPECT_TRUE(names.insert(to_string(static_cast<SourceState>(s))).second);
  }
  for (int e = 1; e <= static_cast<int>(SourceEvent::kFence); ++e) {
    EXPECT_FALSE(to_string(static_cast<SourceEvent>(e)).empty());
  }
  EXPECT_EQ(to_string(SourceState::kRolledBack), "rolled-back");
  EXPECT_EQ(to_string(SourceState::kResync), "resync");
  EXPECT_EQ(to_string(SourceEvent::kRecover), "recover");
}

}  // namespace
}  // namespace godwit::engine
