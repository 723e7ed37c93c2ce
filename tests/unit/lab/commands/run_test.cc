#include <string>

#include <gtest/gtest.h>

#include "command_support.h"

namespace godwit::lab {
namespace {

class RunCommand : public CommandTest {
 protected:
  int run(const std::string& name, unsigned runs = 1) {
    RunLine line;
    line.name = name;
    line.runs = runs;
    return code_of(line);
  }
};

TEST_F(RunCommand, WritesRunsAndTheirSummary) {
  write_scenario("plain", R"(, "runs": 3)");
  EXPECT_EQ(run("plain", 0), kExitOk) << errors_;
  EXPECT_EQ(rows("run").size(), 3U) << "as the scenario says";
  EXPECT_EQ(run("plain", 2), kExitOk) << errors_;
  EXPECT_EQ(rows("run").size(), 2U);
  const auto summaries = rows("summary");
  ASSERT_EQ(summaries.size(), 1U);
  EXPECT_EQ(number_at(summaries[0], "/runs"), 2);
  EXPECT_EQ(number_at(summaries[0], "/figures/total_ns/median"), 5e6);
  EXPECT_EQ(said_,
            "\nplain, 2 runs\n"
            "           median      min      max\n"
            "total_ns  5.00 ms  5.00 ms  5.00 ms\n");
}

TEST_F(RunCommand, ALimitDecidesTheExitCode) {
  struct Case {
    const char* limit;
    int code;
    const char* said;
  };
  for (const auto& one :
       {Case{R"({"figure": "total_ns", "at_most": 6000000})", kExitOk, "PASS"},
        Case{R"({"figure": "total_ns", "at_most": 4000000})", kExitFailed, "FAIL"},
        Case{R"({"figure": "total_ns", "at_least": 5000000})", kExitOk, "PASS"},
        Case{R"({"figure": "valley", "at_least": 0})", kExitFailed, "no run has this figure"}}) {
    write_scenario("limited", fmt::format(R"(, "limits": [{}])", one.limit));
    EXPECT_EQ(run("limited"), one.code) << one.limit;
    EXPECT_NE(said_.find(one.said), std::string::npos) << said_;
    ASSERT_EQ(rows("limit").size(), 1U);
    EXPECT_EQ(rows("limit")[0].at("met").get<bool>(), one.code == kExitOk);
  }
}

TEST_F(RunCommand, ARatioIsToTheScenarioThatTakesTurns) {
  write_scenario("other", "");
  write_scenario("same",
                 R"(, "against": "other", "limits": [{"figure": "total_ns", "ratio_at_most": 1}])");
  EXPECT_EQ(run("same", 2), kExitOk) << said_ << errors_;
  EXPECT_EQ(rows("run").size(), 4U);
  EXPECT_EQ(text_at(rows("run")[1], "/scenario"), "other");
  EXPECT_EQ(number_at(rows("limit")[0], "/value"), 1);
}

TEST_F(RunCommand, ARunThatIsNotVerifiedFails) {
  write_scenario("plain", "");
  write_godwit("echo no >&2; exit 4");
  EXPECT_EQ(run("plain"), kExitFailed);
  ASSERT_EQ(rows("run").size(), 1U);
  EXPECT_EQ(text_at(rows("run")[0], "/reason"), "exit code 4, no report: no");
}

TEST_F(RunCommand, ASetIsEachOfItsScenarios) {
  write_scenario("one", "");
  write_scenario("two", "");
  std::ofstream(at("both.json")) << R"({"scenarios": ["two", "one"]})";
  EXPECT_EQ(run("both"), kExitOk) << errors_;
  ASSERT_EQ(rows("run").size(), 2U);
  EXPECT_EQ(text_at(rows("run")[0], "/scenario"), "two");
  EXPECT_EQ(text_at(rows("run")[1], "/set"), "both");
}

TEST_F(RunCommand, ALoadLastsAsLongAsTheRun) {
  write_scenario("loaded", R"(, "load": {"busy": [0, 1]})");
  EXPECT_EQ(run("loaded", 2), kExitOk) << errors_;
  const auto runs = rows("run");
  ASSERT_EQ(runs.size(), 4U);
  for (const auto& one : runs) {
    EXPECT_EQ(number_at(one, "/load/busy"), number_at(one, "/swept/load.busy"));
    EXPECT_EQ(one["load_seen"].contains("busy_cpu_ns"), number_at(one, "/load/busy") > 0);
  }
}

TEST_F(RunCommand, WhatIsSetHoldsForEveryScenario) {
  write_scenario("one", "");
  write_scenario("two", R"(, "load": {"busy": 0})");
  std::ofstream(at("both.json")) << R"({"scenarios": ["one", "two"]})";
  RunLine line;
  line.name = "both";
  line.runs = 1;
  line.set = {"load.busy=1", "vcpus=2"};
  EXPECT_EQ(code_of(line), kExitOk) << errors_;
  ASSERT_EQ(rows("run").size(), 2U);
  for (const auto& one : rows("run")) {
    EXPECT_EQ(number_at(one, "/load/busy"), 1);
    EXPECT_EQ(text_at(one, "/command/5"), "2") << json_text(one["command"]);
  }
  line.set = {"load.busy=many"};
  EXPECT_EQ(code_of(line), kExitUsage);
}

TEST_F(RunCommand, WhatThisHostCannotGiveIsLeftOut) {
  write_scenario("plain", "");
  write_scenario("hidden", R"(, "user": "nobody")");
  std::ofstream(at("both.json")) << R"({"scenarios": ["hidden", "plain"]})";
  // The stand-in for godwit is in a directory that is only ours.
  EXPECT_EQ(run("both"), kExitOk) << errors_;
  EXPECT_EQ(rows("run").size(), 1U);
  ASSERT_EQ(rows("left_out").size(), 1U);
  EXPECT_NE(text_at(rows("left_out")[0], "/reason").find("user nobody"), std::string::npos);
  EXPECT_NE(errors_.find("left out: hidden"), std::string::npos) << errors_;
  EXPECT_EQ(run("hidden"), kExitEnvironment) << "nothing is left";
}

TEST_F(RunCommand, WhatIsWrongHasItsExitCode) {
  EXPECT_EQ(run("nothing"), kExitUsage);
  EXPECT_NE(errors_.find("there is no 'nothing'"), std::string::npos) << errors_;
  write_scenario("plain", "");
  std::ofstream(at("pair.json"))
      << R"({"name": "pair", "options": {"vcpus": [1, 2, 3]}, "against": "halves"})";
  std::ofstream(at("halves.json")) << R"({"name": "halves", "options": {"vcpus": [1, 2]}})";
  EXPECT_EQ(run("pair"), kExitUsage) << "points that cannot be paired";
  common_.godwit = "/nowhere/godwit";
  EXPECT_EQ(run("plain"), kExitEnvironment);
  common_.out = "/nowhere/rows";
  EXPECT_EQ(run("plain"), kExitEnvironment);
}

}  // namespace
}  // namespace godwit::lab
