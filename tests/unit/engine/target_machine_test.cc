#include "godwit/engine/target_machine.h"

#include <map>
#include <set>
#include <vector>

#include <gtest/gtest.h>

namespace godwit::engine {
namespace {

constexpr int kLastState = static_cast<int>(TargetState::kFailed);
constexpr int kLastEvent = static_cast<int>(TargetEvent::kLocalError);

std::map<TargetState, std::vector<TargetEvent>> ways() {
  std::map<TargetState, std::vector<TargetEvent>> found = {{TargetState::kListening, {}}};
  for (bool grew = true; grew;) {
    grew = false;
    for (const auto& row : TargetMachine::table()) {
      if (found.count(row.from) != 0 && found.count(row.to) == 0) {
        found[row.to] = found[row.from];
        found[row.to].push_back(row.event);
        grew = true;
      }
    }
  }
  return found;
}

TargetMachine machine_after(const std::vector<TargetEvent>& events) {
  TargetMachine machine;
  for (const auto event : events) {
    EXPECT_NE(machine.on(event), nullptr);
  }
  return machine;
}

TEST(TargetMachine, EveryStateIsReachedAndEveryPairIsListedOnceOrRefused) {
  const auto reached = ways();
  EXPECT_EQ(reached.size(), static_cast<std::size_t>(kLastState));
  std::set<std::pair<TargetState, TargetEvent>> listed;
  for (const auto& row : TargetMachine::table()) {
    EXPECT_TRUE(listed.emplace(row.from, row.event).second)
        << to_string(row.from) << " + " << to_string(row.event) << " is listed twice";
  }
  for (const auto& [state, events] : reached) {
    for (int e = 1; e <= kLastEvent; ++e) {
      const auto event = static_cast<TargetEvent>(e);
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

TEST(TargetMachine, LinkLossEndsEveryStateThatHasALink) {
  for (const auto& [state, events] : ways()) {
    auto machine = machine_after(events);
    if (state == TargetState::kListening || machine.ended()) {
      continue;
    }
    EXPECT_NE(machine.on(TargetEvent::kLinkLost), nullptr) << to_string(state);
    EXPECT_TRUE(machine.ended()) << to_string(state);
  }
}

TEST(TargetMachine, NamesEveryStateAndEvent) {
  std::set<std::string_view> names;
  for (int s = 1; s <= kLastState; ++s) {
    EXPECT_TRUE(names.insert(to_string(static_cast<TargetState>(s))).second);
  }
  for (int e = 1; e <= kLastEvent; ++e) {
    EXPECT_FALSE(to_string(static_cast<TargetEvent>(e)).empty());
  }
  EXPECT_EQ(to_string(TargetState::kInDoubt), "in-doubt");
  EXPECT_EQ(to_string(TargetEvent::kLocalError), "local-error");
}

}  // namespace
}  // namespace godwit::engine
