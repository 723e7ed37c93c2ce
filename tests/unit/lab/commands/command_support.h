#pragma once

#include <sys/stat.h>

#include <fstream>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "commands/commands.h"
#include "ground/temporary_directory.h"

namespace godwit::lab {

/// A directory with scenarios, a stand-in for godwit, and the rows that a command leaves.
class CommandTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(directory_) << directory_.error().message();
    common_.scenarios = directory_->file("");
    common_.godwit = at("godwit");
    common_.out = at("rows.jsonl");
    measure(5e6);
  }

  [[nodiscard]] std::string at(const std::string& name) const { return directory_->file(name); }

  /// From now on godwit reports a verified run of that total.
  void measure(double total_ns) {
    write_godwit(fmt::format(
        R"(echo '{{"outcome": "completed", "total_ns": {}, "pages": {{"sent_twice_after_switch": 0}},
          "verified": {{"pages_expected": 1, "pages_checked": 1, "mismatches": 0,
                       "guest_errors": 0}}}}')",
        total_ns));
  }
  void write_godwit(const std::string& script) const {
    std::ofstream(common_.godwit) << "#!/bin/sh\n" << script << "\n";
    ::chmod(common_.godwit.c_str(), 0700);
  }
  void write_scenario(const std::string& name, const std::string& members) const {
    std::ofstream(at(name + ".json"))
        << fmt::format(R"({{"name": "{}", "options": {{}}{}}})", name, members);
  }

  /// Performs a command; what it says is kept in said_.
  template <typename Line>
  int code_of(const Line& line) {
    testing::internal::CaptureStdout();
    testing::internal::CaptureStderr();
    const auto code = perform(common_, line);
    said_ = testing::internal::GetCapturedStdout();
    errors_ = testing::internal::GetCapturedStderr();
    return code;
  }

  /// The rows of one kind.
  [[nodiscard]] std::vector<Json> rows(const std::string& kind) const {
    std::vector<Json> found;
    std::ifstream file(common_.out);
    for (std::string line; std::getline(file, line);) {
      if (auto row = parse_json(line); text_at(row, "/kind") == kind) {
        found.push_back(std::move(row));
      }
    }
    return found;
  }

  Result<TemporaryDirectory> directory_ = TemporaryDirectory::create();
  Common common_;
  std::string said_;
  std::string errors_;
};

}  // namespace godwit::lab
