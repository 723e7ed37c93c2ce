#include "rows/results.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include <gtest/gtest.h>

namespace godwit::lab {
namespace {

TEST(Results, ARowIsInTheFileAtOnce) {
  const auto path = std::filesystem::temp_directory_path() /
                    ("godwit-results-test-" + std::to_string(::getpid()));
  auto results = Results::open(path.string(), false);
  ASSERT_TRUE(results);
  ASSERT_TRUE(results->write("run", {{"value", 1}}));
  ASSERT_TRUE(results->write("summary", {{"value", 2}}));
  // The writer is still open: an interrupted lab keeps what it has.
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  EXPECT_EQ(line, R"({"schema":"godwit.lab.v1","kind":"run","value":1})");
  std::getline(file, line);
  EXPECT_EQ(parse_json(line).at("kind"), "summary");
  std::filesystem::remove(path);
}

TEST(Results, AFileThatCannotBeMadeIsAnError) {
  EXPECT_FALSE(Results::open("/nowhere/results.jsonl", false));
}

}  // namespace
}  // namespace godwit::lab
