#include "commands/command_line.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace godwit::lab {
namespace {

/// What a line is read as, and what the reading printed.
struct Read {
  tl::expected<CommandLine, int> line;
  std::string out;
  std::string errors;
};

Read read(std::vector<const char*> words) {
  words.insert(words.begin(), "godwit-lab");
  Common defaults;
  defaults.scenarios = "/scenarios";
  defaults.godwit = "/bin/godwit";
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  auto line = parse_command_line(static_cast<int>(words.size()), words.data(), defaults);
  auto out = testing::internal::GetCapturedStdout();
  return {std::move(line), std::move(out), testing::internal::GetCapturedStderr()};
}

template <typename Line>
Line command_of(const Read& read) {
  const auto* found = read.line ? std::get_if<Line>(&read.line->command) : nullptr;
  if (found == nullptr) {
    ADD_FAILURE() << "it is another command, or none: " << read.errors;
    return {};
  }
  return *found;
}

TEST(CommandLine, DefaultsHoldForWhatIsNotSaid) {
  const auto ran = read({"run", "smoke"});
  const auto run = command_of<RunLine>(ran);
  EXPECT_EQ(run.name, "smoke");
  EXPECT_EQ(run.runs, 0U) << "as the scenario says";
  EXPECT_TRUE(run.qemus.empty()) << "those that are found";
  EXPECT_EQ(ran.line->common.scenarios, "/scenarios");
  EXPECT_EQ(ran.line->common.godwit, "/bin/godwit");
  EXPECT_EQ(ran.line->common.out, "");
  EXPECT_FALSE(ran.line->common.json);
  const auto compare = command_of<CompareLine>(read({"compare", "--scenario", "same"}));
  EXPECT_EQ(compare.pairs, 9U);
  EXPECT_EQ(compare.alpha, 0.01);
  command_of<ListLine>(read({"list"}));
  const auto two = command_of<RunLine>(read({"run", "--qemu", "/q", "--qemu", "/r", "smoke"}));
  EXPECT_EQ(two.qemus, (std::vector<std::string>{"/q", "/r"}));
  EXPECT_EQ(two.name, "smoke") << "which is no program";
}

TEST(CommandLine, ReadsWhatIsSaid) {
  const auto ran = read({"compare",    "--scenario",  "a",       "b",       "--pairs", "7",
                         "--set-a",    "vcpus=1",     "--set-b", "vcpus=2", "--set-b", "rate=1MiB",
                         "--godwit-b", "/other",      "--peer",  "qemu",    "--qemu",  "/q",
                         "--alpha",    "0.001",       "--out",   "rows",    "--json",  "--godwit",
                         "/g",         "--scenarios", "/s",      "--set",   "user=x"});
  const auto compare = command_of<CompareLine>(ran);
  EXPECT_EQ(compare.scenarios, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(compare.pairs, 7U);
  EXPECT_EQ(compare.set, std::vector<std::string>{"user=x"});
  EXPECT_EQ(compare.set_a, std::vector<std::string>{"vcpus=1"});
  EXPECT_EQ(compare.set_b, (std::vector<std::string>{"vcpus=2", "rate=1MiB"}));
  EXPECT_EQ(compare.godwit_b, "/other");
  EXPECT_EQ(compare.peers, std::vector<std::string>{"qemu"});
  EXPECT_EQ(compare.qemus, std::vector<std::string>{"/q"});
  EXPECT_EQ(compare.alpha, 0.001);
  EXPECT_TRUE(compare.files.empty());
  ASSERT_TRUE(ran.line);
  EXPECT_EQ(ran.line->common.out, "rows");
  EXPECT_TRUE(ran.line->common.json);
  EXPECT_EQ(ran.line->common.godwit, "/g");
  EXPECT_EQ(ran.line->common.scenarios, "/s");
  const auto report = command_of<ReportLine>(
      read({"report", "/proc/self/status", "/proc/self/maps", "--out", "page.html"}));
  EXPECT_EQ(report.files, (std::vector<std::string>{"/proc/self/status", "/proc/self/maps"}));
  EXPECT_EQ(report.out, "page.html");
  const auto files = command_of<CompareLine>(read({"compare", "/proc/stat", "/proc/self/maps"}));
  EXPECT_EQ(files.files.size(), 2U);
}

TEST(CommandLine, WhatIsWrongIsSaidAndExitsWithTwo) {
  struct Case {
    std::vector<const char*> words;
    const char* said;
  };
  const std::vector<Case> cases{
      {{}, "subcommand is required"},
      {{"measure"}, "subcommand is required"},
      {{"run"}, "name is required"},
      {{"run", "x", "--runs", "0"}, "--runs"},
      {{"run", "x", "--runs", "1001"}, "--runs"},
      {{"run", "x", "--pairs", "3"}, "--pairs"},
      {{"compare"}, "--scenario or two result files"},
      {{"compare", "--scenario", "a", "b", "c"}, "c"},
      {{"compare", "--scenario", "a", "--alpha", "0.6"}, "--alpha"},
      {{"compare", "/proc/stat"}, "files"},
      {{"compare", "/proc/stat", "/nowhere"}, "/nowhere"},
      {{"compare", "/proc/stat", "/proc/self/maps", "--scenario", "a"}, "excludes"},
      {{"report", "/proc/stat"}, "--out is required"},
      {{"report", "--out", "page"}, "files is required"},
      {{"report", "/nowhere", "--out", "page"}, "/nowhere"},
  };
  for (const auto& one : cases) {
    const auto ran = read(one.words);
    ASSERT_FALSE(ran.line) << one.said;
    EXPECT_EQ(ran.line.error(), kExitUsage) << one.said;
    EXPECT_NE(ran.errors.find(one.said), std::string::npos) << one.said << ": " << ran.errors;
    EXPECT_EQ(ran.out, "");
  }
}

TEST(CommandLine, HelpIsForStdoutAndNoError) {
  for (const auto& words : {std::vector<const char*>{"--help"}, {"compare", "--help"}}) {
    const auto ran = read(words);
    ASSERT_FALSE(ran.line);
    EXPECT_EQ(ran.line.error(), kExitOk);
    EXPECT_NE(ran.out.find("Usage: godwit-lab"), std::string::npos) << ran.out;
    EXPECT_EQ(ran.errors, "");
  }
}

}  // namespace
}  // namespace godwit::lab
