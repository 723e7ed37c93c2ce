#include <fstream>
#include <string>

#include <gtest/gtest.h>

#include "commands/commands.h"
#include "ground/temporary_directory.h"

namespace godwit::lab {
namespace {

TEST(ListCommand, ShowsScenariosAndSetsInOrder) {
  const auto directory = TemporaryDirectory::create();
  ASSERT_TRUE(directory);
  std::ofstream(directory->file("one.json")) << R"({"name": "one", "description": "a run"})";
  std::ofstream(directory->file("all.json")) << R"({"scenarios": ["one"], "description": "all"})";
  std::ofstream(directory->file("notes.txt")) << "no scenario";
  Common common;
  common.scenarios = directory->file("");
  testing::internal::CaptureStdout();
  EXPECT_EQ(perform(common, ListLine{}), kExitOk);
  EXPECT_EQ(testing::internal::GetCapturedStdout(),
            "all              (set) all\none              a run\n");
}

TEST(ListCommand, ADirectoryThatIsNotThereIsTheEnvironments) {
  Common common;
  common.scenarios = "/nowhere";
  testing::internal::CaptureStderr();
  EXPECT_EQ(perform(common, ListLine{}), kExitEnvironment);
  EXPECT_NE(testing::internal::GetCapturedStderr().find("/nowhere"), std::string::npos);
}

}  // namespace
}  // namespace godwit::lab
