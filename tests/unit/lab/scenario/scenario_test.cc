#include "scenario/scenario.h"

#include <filesystem>
#include <set>

#include <gtest/gtest.h>

namespace godwit::lab {
namespace {

Json minimal() {
  return parse_json(R"({"name": "x", "options": {"memory": "64MiB", "prealloc": true}})");
}

std::string refusal(const Json& json) {
  const auto scenario = parse_scenario(json, "file");
  return scenario ? "accepted" : scenario.error().message();
}

TEST(Scenario, OptionsBecomeArguments) {
  auto json = minimal();
  json["options"]["working_set"] = "1MiB";
  json["options"]["floors"] = false;
  json["options"]["vcpus"] = 2;
  const auto scenario = parse_scenario(json, "file");
  ASSERT_TRUE(scenario);
  const auto points = scenario->points();
  ASSERT_EQ(points.size(), 1U);
  const std::vector<std::string> expected{
      "--memory", "64MiB", "--prealloc", "--working-set", "1MiB", "--vcpus", "2"};
  EXPECT_EQ(points[0].arguments(), expected);
  EXPECT_EQ(points[0].name(), "x");
}

TEST(Scenario, ListsAreSweptInEveryCombination) {
  auto json = minimal();
  json["options"]["vcpus"] = {1, 2};
  json["options"]["mode"] = {"hybrid", "postcopy", "precopy"};
  const auto points = parse_scenario(json, "file")->points();
  ASSERT_EQ(points.size(), 6U);
  EXPECT_EQ(points[0].name(), "x vcpus=1 mode=hybrid");
  EXPECT_EQ(points[1].name(), "x vcpus=1 mode=postcopy");
  EXPECT_EQ(points[5].name(), "x vcpus=2 mode=precopy");
}

TEST(Scenario, RefusesWhatItDoesNotUnderstand) {
  auto json = minimal();
  json["limit"] = 3;
  EXPECT_NE(refusal(json).find("'limit' is unknown"), std::string::npos) << refusal(json);
  json = minimal();
  json["options"]["json"] = true;
  EXPECT_NE(refusal(json).find("set by the lab itself"), std::string::npos);
  json = minimal();
  json["options"]["vcpus"] = 1.5;
  EXPECT_NE(refusal(json).find("'vcpus'"), std::string::npos);
  json = minimal();
  json["limits"] = {{{"figure", "speed"}, {"at_least", 1}}};
  EXPECT_NE(refusal(json).find("no figure 'speed'"), std::string::npos);
  json["limits"] = {{{"figure", "total_ns"}}};
  EXPECT_NE(refusal(json).find("exactly one"), std::string::npos);
  json["limits"] = {{{"figure", "total_ns"}, {"ratio_at_most", 1.3}}};
  EXPECT_NE(refusal(json).find("'against'"), std::string::npos);
  json["against"] = "y";
  EXPECT_EQ(refusal(json), "accepted");
}

TEST(Scenario, SetOptionReadsWordsAndFlags) {
  auto options = Json::object();
  ASSERT_TRUE(set_option(options, "inject=blackout-delay=20ms"));
  ASSERT_TRUE(set_option(options, "prealloc=true"));
  EXPECT_EQ(options["inject"], "blackout-delay=20ms");
  EXPECT_EQ(options["prealloc"], true);
  EXPECT_FALSE(set_option(options, "prealloc"));
  EXPECT_FALSE(set_option(options, "=1"));
  EXPECT_FALSE(set_option(options, "json=true"));
}

TEST(Scenario, LinksAreSweptAndChecked) {
  auto json = minimal();
  EXPECT_TRUE(parse_scenario(json, "file")->points()[0].link.is_null());
  json["link"] = {{"bandwidth", "1Gbit"}, {"delay_us", {0, 500}}};
  json["options"]["vcpus"] = {1, 2};
  const auto points = parse_scenario(json, "file")->points();
  ASSERT_EQ(points.size(), 4U);
  EXPECT_EQ(points[1].name(), "x link.delay_us=0 vcpus=2");
  EXPECT_EQ(points[3].link, parse_json(R"({"bandwidth": "1Gbit", "delay_us": 500})"));
  json["link"]["delay_us"] = {0, -5};
  EXPECT_NE(refusal(json).find("'delay_us' is no whole number"), std::string::npos);
  json["link"] = {{"delay_us", Json::array()}};
  EXPECT_NE(refusal(json).find("empty list"), std::string::npos);
  json["link"] = Json::object();
  json["options"]["listen"] = "tcp:127.0.0.1:0";
  EXPECT_NE(refusal(json).find("'listen' is set by the lab itself"), std::string::npos);
}

TEST(Scenario, MembersOfOptionsAndLinkAreSetTogether) {
  auto scenario = *parse_scenario(minimal(), "file");
  ASSERT_TRUE(
      set_members(scenario, {"link.buffer_bytes=65536", "link.bandwidth=1Gbit", "vcpus=2"}));
  EXPECT_EQ(scenario.link, parse_json(R"({"buffer_bytes": 65536, "bandwidth": "1Gbit"})"));
  EXPECT_EQ(scenario.options["vcpus"], "2");
  EXPECT_FALSE(set_members(scenario, {"link.speed=1"}));
}

TEST(Scenario, LoadsAndUsersAreSweptAndChecked) {
  auto json = minimal();
  EXPECT_TRUE(parse_scenario(json, "file")->points()[0].load.is_null());
  EXPECT_EQ(parse_scenario(json, "file")->points()[0].user, "");
  json["load"] = {{"busy", {0, 2}}, {"cpu_quota", "150%"}};
  json["user"] = {"root", "nobody"};
  const auto points = parse_scenario(json, "file")->points();
  ASSERT_EQ(points.size(), 4U);
  EXPECT_EQ(points[0].name(), "x load.busy=0 user=root");
  EXPECT_EQ(points[3].name(), "x load.busy=2 user=nobody");
  EXPECT_EQ(points[3].load, parse_json(R"({"busy": 2, "cpu_quota": "150%"})"));
  EXPECT_EQ(points[3].user, "nobody");
  EXPECT_EQ(points[3].arguments(), points[0].arguments()) << "no options of the command";
  json["user"] = "nobody";
  EXPECT_EQ(parse_scenario(json, "file")->points()[0].name(), "x load.busy=0");
  for (const auto& user : {Json(1), Json(""), Json::array(), Json::array({1})}) {
    json["user"] = user;
    EXPECT_NE(refusal(json).find("'user' is no name"), std::string::npos) << user;
  }
  json["user"] = "nobody";
  json["link"] = {{"delay_us", 0}};
  EXPECT_NE(refusal(json).find("exclude each other"), std::string::npos);
  json.erase("user");
  EXPECT_EQ(refusal(json), "accepted");
  json["load"]["busy"] = {1, -1};
  EXPECT_NE(refusal(json).find("'busy' is no whole number"), std::string::npos);
  json["load"]["busy"] = Json::array();
  EXPECT_NE(refusal(json).find("'busy' of 'load' is an empty list"), std::string::npos);
  json["load"] = 2;
  EXPECT_NE(refusal(json).find("'load'"), std::string::npos);
}

TEST(Scenario, MembersOfLoadAndTheUserAreSet) {
  auto scenario = *parse_scenario(minimal(), "file");
  ASSERT_TRUE(set_members(scenario, {"load.busy=2", "load.cpu_quota=50%", "user=nobody"}));
  EXPECT_EQ(scenario.load, parse_json(R"({"busy": 2, "cpu_quota": "50%"})"));
  EXPECT_EQ(scenario.points()[0].user, "nobody");
  EXPECT_FALSE(scenario.options.contains("user"));
  EXPECT_FALSE(set_members(scenario, {"load.busy=many"}));
  scenario.load = nullptr;
  EXPECT_FALSE(set_members(scenario, {"load.idle=1"}));
  scenario.load = nullptr;
  EXPECT_FALSE(set_members(scenario, {"link.delay_us=1"})) << "beside a user";
  EXPECT_FALSE(set_members(scenario, {"load.busy"}));
}

TEST(Library, EveryFileIsAScenarioOrASetOfSuch) {
  const std::filesystem::path directory(GODWIT_SCENARIOS);
  const Library library(directory);
  std::set<std::string> seen;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory)) {
    if (entry.is_directory()) {
      continue;
    }
    const auto stem = entry.path().stem().string();
    EXPECT_TRUE(seen.insert(stem).second) << stem << " is there twice";
    const auto scenarios = library.scenarios(stem);
    ASSERT_TRUE(scenarios) << scenarios.error().message();
    EXPECT_FALSE(scenarios->empty());
    for (const auto& scenario : *scenarios) {
      EXPECT_FALSE(scenario.description.empty()) << stem;
      if (!scenario.against.empty()) {
        EXPECT_TRUE(library.scenario(scenario.against)) << stem;
      }
    }
  }
  EXPECT_GE(seen.size(), 5U);
  EXPECT_FALSE(library.scenario("smoke")) << "a set is no scenario";
  EXPECT_FALSE(library.scenario("nothing"));
}

TEST(QemuMode, AScenarioNamesPeers) {
  const auto scenario = parse_scenario(
      parse_json(R"({"name": "x", "options": {}, "peers": ["qemu:postcopy"]})"), "test");
  ASSERT_TRUE(scenario);
  EXPECT_EQ(scenario->peers, std::vector<std::string>{"qemu:postcopy"});
  EXPECT_FALSE(parse_scenario(parse_json(R"({"name": "x", "options": {}, "peers": [1]})"), "test"));
}

}  // namespace
}  // namespace godwit::lab
