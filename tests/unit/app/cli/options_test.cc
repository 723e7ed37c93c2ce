#include "cli/options.h"

#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "cli/option_json.h"

namespace godwit::app {
namespace {

/// A value of each option that differs from its default.
const std::vector<std::pair<std::string, std::string>>& other_values() {
  static const std::vector<std::pair<std::string, std::string>> kValues{
      {"--control", "/c"},
      {"--json", "true"},
      {"--guest", "process"},
      {"--memory", "67108864"},
      {"--populated", "33554432"},
      {"--working-set", "8388608"},
      {"--vcpus", "2"},
      {"--workload", "zipf-write"},
      {"--rate", "1048576"},
      {"--fill", "zero"},
      {"--dirty-source", "wp-async"},
      {"--seed", "9"},
      {"--backing", "anonymous"},
      {"--transport", "poll"},
      {"--listen", "tcp:[::1]:7000"},
      {"--congestion", "reno"},
      {"--timeout", "1001us"},
      {"--trace", "/t"},
      {"--inject-drop-page", "1:2"},
      {"--inject-skip-register", "true"},
      {"--to", "unix:/u"},
      {"--mode", "precopy"},
      {"--switch-after-rounds", "3"},
      {"--max-rounds", "4"},
      {"--downtime-limit", "5ms"},
      {"--on-no-convergence", "fail"},
      {"--max-bandwidth", "1000"},
      {"--channels", "6"},
      {"--prealloc", "true"},
      {"--floors", "true"},
      {"--timeline", "true"},
      {"--inject", "fault-delay=7ms"},
      {"--no-checksum", "true"},
      {"--source-netns", "a"},
      {"--target-netns", "b"},
      {"--warm", "true"},
      {"--force", "true"},
      {"--cpu-priority", "guest"},
      {"--recover-for", "7s"},
      {"--stall", "8s"},
      {"--dump-guest-core", "true"},
      {"--migration", "3"},
      {"--fence", "true"},
      {"--yes", "true"},
  };
  return kValues;
}

std::string value_of(const std::string& name) {
  for (const auto& [known, value] : other_values()) {
    if (known == name) {
      return value;
    }
  }
  ADD_FAILURE() << name << " has no value in this test";
  return {};
}

template <typename S>
class Options : public testing::Test {};

template <typename S>
OptionTable<S> table();
template <>
OptionTable<GuestSettings> table() {
  return guest_options();
}
template <>
OptionTable<MigrationSettings> table() {
  return request_options();
}
template <>
OptionTable<RunLine> table() {
  return run_options();
}
template <>
OptionTable<ReceiveLine> table() {
  return receive_options();
}
template <>
OptionTable<MigrateLine> table() {
  return migrate_options();
}
template <>
OptionTable<RecoverLine> table() {
  return recover_options();
}
template <>
OptionTable<ClientLine> table() {
  return switch_options();
}
template <>
OptionTable<DemoLine> table() {
  return demo_options();
}

using Tables = testing::Types<GuestSettings,
                              MigrationSettings,
                              RunLine,
                              ReceiveLine,
                              MigrateLine,
                              RecoverLine,
                              ClientLine,
                              DemoLine>;
TYPED_TEST_SUITE(Options, Tables);

TYPED_TEST(Options, EachIsReadAndWritten) {
  const auto options = table<TypeParam>();
  for (const auto& row : options.rows()) {
    const auto text = value_of(row.name);
    TypeParam line;
    EXPECT_NE(row.write(line), text) << row.name << ": this is the default";
    const auto read = row.read(line, text);
    ASSERT_TRUE(read) << row.name << ": " << read.error().message();
    EXPECT_EQ(row.write(line), text) << row.name;
  }
}

TYPED_TEST(Options, OneChangesNoOther) {
  const auto options = table<TypeParam>();
  const TypeParam untouched;
  for (const auto& row : options.rows()) {
    TypeParam line;
    ASSERT_TRUE(row.read(line, value_of(row.name)));
    for (const auto& other : options.rows()) {
      if (&other != &row) {
        EXPECT_EQ(other.write(line), other.write(untouched)) << row.name << ", " << other.name;
      }
    }
  }
}

TYPED_TEST(Options, NoneIsThereTwice) {
  std::set<std::string> names;
  for (const auto& head : table<TypeParam>().heads()) {
    EXPECT_TRUE(names.insert(head.name).second) << head.name;
    EXPECT_EQ(head.name.rfind("--", 0), 0U);
  }
}

TYPED_TEST(Options, AllTravelAsMembers) {
  const auto options = table<TypeParam>();
  TypeParam line;
  for (const auto& row : options.rows()) {
    ASSERT_TRUE(row.read(line, value_of(row.name)));
  }
  const auto members = members_of(options.texts(line));
  EXPECT_EQ(members.size(), options.rows().size());
  TypeParam again;
  const auto read = read_members(options, again, members);
  ASSERT_TRUE(read) << read.error().message();
  EXPECT_EQ(words_of(options.texts(again)), words_of(options.texts(line)));
}

TEST(OptionTable, WordsAreInOnePieceAndAFlagIsItsName) {
  MigrateLine line;
  line.control = "-c";
  line.json = true;
  const auto words = words_of(migrate_options().texts(line));
  EXPECT_EQ(words.front(), "--control=-c");
  EXPECT_EQ(words.back(), "--json");
}

TEST(OptionTable, SaysOfWhichOptionTheTextIsWrong) {
  GuestSettings guest;
  const auto options = guest_options();
  std::vector<std::optional<std::string>> texts(options.rows().size());
  texts[4] = "0";
  EXPECT_EQ(options.read(guest, texts).error().message(), "--vcpus: '0' is not in 1..1000000");
}

TEST(OptionTable, AFlagThatIsTakenBackIsUnset) {
  MigrationSettings settings;
  const auto options = request_options();
  ASSERT_TRUE(read_members(options, settings, parse_json(R"({"no_checksum":true})")));
  EXPECT_FALSE(settings.source.checksum);
  ASSERT_TRUE(read_members(options, settings, parse_json(R"({"no_checksum":false})")));
  EXPECT_TRUE(settings.source.checksum);
}

TEST(OptionJson, NumbersMayBeNumbersAndUnknownMembersAreNoOptions) {
  GuestSettings guest;
  const auto read = read_members(
      guest_options(), guest, parse_json(R"({"vcpus":2,"working_set":4096,"dance":true})"));
  ASSERT_TRUE(read) << read.error().message();
  EXPECT_EQ(guest.config.vcpus, 2U);
  EXPECT_EQ(guest.working_set_bytes, 4096U);
}

TEST(OptionJson, WhatIsNoValueIsRefused) {
  for (const auto* text : {R"({"vcpus":null})",
                           R"({"vcpus":-1})",
                           R"({"vcpus":1.5})",
                           R"({"vcpus":[1]})",
                           R"({"vcpus":true})",
                           R"({"vcpus":1e300})"}) {
    GuestSettings guest;
    const auto read = read_members(guest_options(), guest, parse_json(text));
    ASSERT_FALSE(read) << text;
    EXPECT_EQ(read.error().code, ErrorCode::kInvalidArgument);
    EXPECT_EQ(read.error().message().rfind("--vcpus: ", 0), 0U) << read.error().message();
  }
  MigrationSettings settings;
  EXPECT_EQ(
      read_members(request_options(), settings, parse_json(R"({"prealloc":1})")).error().message(),
      "--prealloc: '1' is neither true nor false");
}

}  // namespace
}  // namespace godwit::app
