#include <string>

#include <gtest/gtest.h>

#include "command_support.h"

namespace godwit::lab {
namespace {

class CompareCommand : public CommandTest {
 protected:
  void SetUp() override {
    CommandTest::SetUp();
    write_scenario("plain", "");
    line_.scenarios = {"plain"};
    line_.pairs = 2;
  }
  CompareLine line_;
};

TEST_F(CompareCommand, BothSidesTakeTurns) {
  line_.set_b = {"vcpus=2"};
  EXPECT_EQ(code_of(line_), kExitOk) << errors_;
  const auto runs = rows("run");
  ASSERT_EQ(runs.size(), 4U);
  std::string order;
  for (const auto& run : runs) {
    order += text_at(run, "/side");
  }
  EXPECT_EQ(order, "abba");
  const auto comparisons = rows("comparison");
  ASSERT_EQ(comparisons.size(), 1U);
  EXPECT_EQ(text_at(comparisons[0], "/options_b/vcpus"), "2");
  EXPECT_EQ(number_at(comparisons[0], "/figures/total_ns/p"), 1);
  EXPECT_NE(said_.find("So few runs cannot tell anything apart"), std::string::npos) << said_;
}

TEST_F(CompareCommand, ALoadIsOfOneSideOrOfBoth) {
  line_.pairs = 1;
  line_.set = {"load.busy=1"};
  line_.set_b = {"load.busy=0"};
  EXPECT_EQ(code_of(line_), kExitOk) << errors_;
  const auto runs = rows("run");
  ASSERT_EQ(runs.size(), 2U);
  EXPECT_EQ(number_at(runs[0], "/load/busy"), 1);
  EXPECT_EQ(number_at(runs[1], "/load/busy"), 0) << "what one side gets comes after";
  line_.set = {"user=nobody"};
  EXPECT_EQ(code_of(line_), kExitEnvironment) << "the stand-in for godwit is only ours";
}

TEST_F(CompareCommand, AnotherBuildIsSideB) {
  common_.json = true;
  line_.godwit_b = at("slower");
  std::ofstream(line_.godwit_b) << "#!/bin/sh\nexit 1\n";
  ::chmod(line_.godwit_b.c_str(), 0700);
  EXPECT_EQ(code_of(line_), kExitFailed) << "side B is not verified";
  EXPECT_EQ(said_.find("A median"), std::string::npos) << "rows on stdout, no table";
}

TEST_F(CompareCommand, WhatCannotBeASideIsAUsageError) {
  std::ofstream(at("sweep.json")) << R"({"name": "sweep", "options": {"vcpus": [1, 2]}})";
  struct Case {
    CompareLine line;
    const char* said;
  };
  std::vector<Case> cases{{line_, "a side is one point"},
                          {line_, "KEY=VALUE"},
                          {line_, "there is no peer 'xen'"},
                          {line_, "side B is the peer"}};
  cases[0].line.scenarios = {"sweep"};
  cases[1].line.set_a = {"vcpus"};
  cases[2].line.peers = {"xen"};
  cases[3].line.peers = {"qemu"};
  cases[3].line.set_b = {"vcpus=1"};
  for (const auto& one : cases) {
    EXPECT_EQ(code_of(one.line), kExitUsage) << one.said;
    EXPECT_NE(errors_.find(one.said), std::string::npos) << errors_;
  }
}

TEST_F(CompareCommand, APeerThatIsMissingIsLeftOut) {
  line_.peers = {"qemu:precopy"};
  line_.qemus = {"/no/such/qemu", "/bin/true"};
  line_.set_a = {"memory=64MiB"};
  EXPECT_EQ(code_of(line_), kExitOk) << errors_;
  EXPECT_EQ(rows("left_out").size(), 2U);
  EXPECT_EQ(rows("run").size(), 2U) << "godwit alone";
  EXPECT_NE(said_.find("medians (and what they are of godwit's)"), std::string::npos) << said_;
}

}  // namespace
}  // namespace godwit::lab
