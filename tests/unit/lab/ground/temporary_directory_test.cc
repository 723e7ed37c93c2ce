#include "ground/temporary_directory.h"

#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <optional>
#include <utility>

#include <gtest/gtest.h>

namespace godwit::lab {
namespace {

TEST(TemporaryDirectory, IsPrivateAndGoesWithAllThatIsInIt) {
  std::filesystem::path path;
  {
    auto made = TemporaryDirectory::create();
    ASSERT_TRUE(made);
    const TemporaryDirectory directory = std::move(*made);
    path = std::filesystem::path(directory.file("x")).parent_path();
    struct stat status {};
    ASSERT_EQ(::stat(path.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777U, 0700U);
    std::filesystem::create_directory(directory.file("below"));
    std::ofstream(directory.file("below/file")) << "text";
  }
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST(TemporaryDirectory, EachIsAnother) {
  const auto one = TemporaryDirectory::create();
  const auto two = TemporaryDirectory::create();
  ASSERT_TRUE(one && two);
  EXPECT_NE(one->file("x"), two->file("x"));
}

}  // namespace
}  // namespace godwit::lab
