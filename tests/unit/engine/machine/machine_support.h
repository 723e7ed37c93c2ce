#pragma once

#include <map>
#include <set>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

/// What the tests of both state machines share; states and events count from 1.
namespace godwit::engine {

template <typename Machine>
using StateOf = decltype(std::declval<Machine>().state());
template <typename Machine>
using EventOf = decltype(Machine::table().front().event);

/// The events on a shortest way from the first state to every state that can be reached.
template <typename Machine>
auto ways() {
  using State = StateOf<Machine>;
  using Event = std::remove_const_t<EventOf<Machine>>;
  std::map<State, std::vector<Event>> found = {{Machine().state(), {}}};
  for (bool grew = true; grew;) {
    grew = false;
    for (const auto& row : Machine::table()) {
      if (found.count(row.from) != 0 && found.count(row.to) == 0) {
        found[row.to] = found[row.from];
        found[row.to].push_back(row.event);
        grew = true;
      }
    }
  }
  return found;
}

template <typename Machine, typename Event>
Machine machine_after(const std::vector<Event>& events) {
  Machine machine;
  for (const auto event : events) {
    EXPECT_NE(machine.on(event), nullptr);
  }
  return machine;
}

/// Every state is reached, every pair of state and event is listed at most once, and what is not
/// listed is refused without a change.
template <typename Machine, typename State, typename Event>
void expect_whole_table(State last_state, Event last_event) {
  const auto reached = ways<Machine>();
  EXPECT_EQ(reached.size(), static_cast<std::size_t>(last_state));
  std::set<std::pair<State, Event>> listed;
  for (const auto& row : Machine::table()) {
    EXPECT_TRUE(listed.emplace(row.from, row.event).second)
        << to_string(row.from) << " + " << to_string(row.event) << " is listed twice";
  }
  for (const auto& [state, events] : reached) {
    for (int e = 1; e <= static_cast<int>(last_event); ++e) {
      const auto event = static_cast<Event>(e);
      auto machine = machine_after<Machine>(events);
      ASSERT_EQ(machine.state(), state);
      const auto* row = machine.on(event);
      EXPECT_EQ(row != nullptr, listed.count({state, event}) != 0)
          << to_string(state) << " + " << to_string(event);
      EXPECT_EQ(machine.state(), row != nullptr ? row->to : state)
          << "a refused event changes nothing";
    }
  }
}

}  // namespace godwit::engine
