#include <algorithm>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>
#include <string>

#include <gtest/gtest.h>

#include "godwit/engine/states.h"
#include "godwit/wire/format.h"

// The model speaks of states and messages by the names that they have here.

namespace godwit::engine {
namespace {

/// The names of one mtype of the model.
std::set<std::string> names_of(const std::string& type) {
  std::ifstream file(GODWIT_MODEL);
  std::stringstream text;
  text << file.rdbuf();
  const auto model = text.str();
  std::smatch found;
  EXPECT_TRUE(std::regex_search(model, found, std::regex("mtype:" + type + " = \\{([^}]*)\\}")));
  const auto list = found[1].str();
  std::set<std::string> names;
  const std::regex word("\\w+");
  for (auto it = std::sregex_iterator(list.begin(), list.end(), word); it != std::sregex_iterator();
       ++it) {
    names.insert(it->str());
  }
  return names;
}

std::string as_state(std::string name) {
  std::ranges::replace(name, '_', '-');
  return name;
}

template <typename State>
std::set<std::string> states_until(State last) {
  std::set<std::string> names;
  for (int number = 1; number <= static_cast<int>(last); ++number) {
    names.insert(std::string(to_string(static_cast<State>(number))));
  }
  return names;
}

TEST(Model, NamesStatesOfTheSource) {
  const auto states = states_until(SourceState::kRevoking);
  const auto names = names_of("source");
  EXPECT_EQ(names.size(), 10U);
  for (const auto& name : names) {
    EXPECT_EQ(states.count(as_state(name)), 1U) << name;
  }
}

TEST(Model, NamesStatesOfTheTarget) {
  const auto states = states_until(TargetState::kUnconfirmed);
  const auto names = names_of("target");
  EXPECT_EQ(names.size(), 12U);
  for (const auto& name : names) {
    ASSERT_EQ(name.rfind("t_", 0), 0U) << name;
    EXPECT_EQ(states.count(as_state(name.substr(2))), 1U) << name;
  }
}

TEST(Model, NamesMessages) {
  std::set<std::string> messages;
  for (std::uint16_t number = 1; number < wire::kMessageTypeEnd; ++number) {
    messages.insert(std::string(wire::message_type_name(static_cast<wire::MessageType>(number))));
  }
  for (const auto& name : names_of("message")) {
    EXPECT_EQ(messages.count(name), 1U) << name;
  }
}

}  // namespace
}  // namespace godwit::engine
