#include "qemu/programs.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "ground/temporary_directory.h"

namespace godwit::lab {
namespace {

TEST(Qemus, AreThoseUnpackedThenTheSystems) {
  const auto directory = TemporaryDirectory::create();
  ASSERT_TRUE(directory);
  const std::filesystem::path cache(directory->file("cache"));
  const std::vector<std::string> systems{"qemu-system-x86_64"};
  EXPECT_EQ(usual_qemus(cache), systems) << "there is no such directory";
  std::filesystem::create_directories(cache / "apt");
  std::filesystem::create_directories(cache / "10.0.2");
  EXPECT_EQ(usual_qemus(cache), systems) << "nothing is unpacked there";
  const auto program = cache / "10.0.2" / "qemu-system-x86_64";
  std::ofstream(program) << "\n";
  EXPECT_EQ(usual_qemus(cache), (std::vector<std::string>{program.string(), systems[0]}));
  EXPECT_EQ(usual_qemus({}), systems);
}

TEST(Qemus, LieInTheUsersCache) {
  const auto keep = [](const char* name) {
    const auto* value = std::getenv(name);
    return std::string(value == nullptr ? "" : value);
  };
  const auto home = keep("HOME");
  const auto cache = keep("XDG_CACHE_HOME");
  ::setenv("HOME", "/somebody", 1);
  ::unsetenv("XDG_CACHE_HOME");
  EXPECT_EQ(qemu_cache(), "/somebody/.cache/godwit/qemu");
  ::setenv("XDG_CACHE_HOME", "/elsewhere", 1);
  EXPECT_EQ(qemu_cache(), "/elsewhere/godwit/qemu");
  ::unsetenv("XDG_CACHE_HOME");
  ::unsetenv("HOME");
  EXPECT_EQ(qemu_cache(), "");
  ::setenv("HOME", home.c_str(), 1);
  if (!cache.empty()) {
    ::setenv("XDG_CACHE_HOME", cache.c_str(), 1);
  }
}

}  // namespace
}  // namespace godwit::lab
