#include "godwit/engine/source_machine.h"

#include <map>
#include <set>
#include <vector>

#include <gtest/gtest.h>

namespace godwit::engine {
namespace {

constexpr int kLastState = static_cast<int>(SourceState::kFailed);
constexpr int kLastEvent = static_cast<int>(SourceEvent::kLocalError);

/// The events on a shortest way from idle to every state that can be reached.
std::map<SourceState, std::vector<SourceEvent>> ways() {
  std::map<SourceState, std::vector<SourceEvent>> found = {{SourceState::kIdle, {}}};
  for (bool grew = true; grew;) {
    grew = false;
    for (const auto& row : SourceMachine::table()) {
      if (found.count(row.from) != 0 && found.count(row.to) == 0) {
        found[row.to] = found[row.from];
        found[row.to].push_back(row.event);
        grew = true;
      }
    }
  }
  return found;
}

SourceMachine machine_after(const std::vector<SourceEvent>& events) {
  SourceMachine machine;
  for (const auto event : events) {
    EXPECT_NE(machine.on(event), nullptr);
  }
  return machine;
}

TEST(SourceMachine, EveryStateIsReachedAndEveryPairIsListedOnceOrRefused) {
  const auto reached = ways();
  EXPECT_EQ(reached.size(), static_cast<std::size_t>(kLastState));
  std::set<std::pair<SourceState, SourceEvent>> listed;
  for (const auto& row : SourceMachine::table()) {
    EXPECT_TRUE(listed.emplace(row.from, row.event).second)
        << to_string(row.from) << " + " << to_string(row.event) << " is listed twice";
  }
  for (const auto& [state, events] : reached) {
    for (int e = 1; e <= kLastEvent; ++e) {
      const auto event = static_cast<SourceEvent>(e);
      auto machine = machine_after(events);
      ASSERT_EQ(machine.state(), state);
      const auto* row = machine.on(event);
      EXPECT_EQ(row != nullptr, listed.count({state, event}) != 0)
          << to_string(state) << " + " << to_string(event);
      EXPECT_EQ(machine.state(), row != nullptr ? row->to : state)
          << "a refused event changes nothing";
    }
  }
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

TEST(SourceMachine, LinkLossEndsEveryStateThatHasALink) {
  for (const auto& [state, events] : ways()) {
    auto machine = machine_after(events);
    if (state == SourceState::kIdle || machine.ended()) {
      continue;
    }
    EXPECT_NE(machine.on(SourceEvent::kLinkLost), nullptr) << to_string(state);
    EXPECT_TRUE(machine.ended()) << to_string(state);
  }
}

TEST(SourceMachine, ThePlantedBugCommitsEarlyAndOnlyWhenPlanted) {
  const auto events = ways()[SourceState::kStateTransfer];
  SourceMachine sound = machine_after(events);
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
  for (int s = 1; s <= kLastState; ++s) {
    EXPECT_TRUE(names.insert(to_string(static_cast<SourceState>(s))).second);
  }
  for (int e = 1; e <= kLastEvent; ++e) {
    EXPECT_FALSE(to_string(static_cast<SourceEvent>(e)).empty());
  }
  EXPECT_EQ(to_string(SourceState::kRolledBack), "rolled-back");
  EXPECT_EQ(to_string(SourceEvent::kLocalError), "local-error");
}

}  // namespace
}  // namespace godwit::engine
