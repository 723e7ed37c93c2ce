#include "ground/user.h"

#include <grp.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "ground/child.h"
#include "ground/temporary_directory.h"
#include "support/process.h"
#include "support/require.h"

namespace godwit::lab {
namespace {

TEST(User, IsFoundByName) {
  const auto nobody = find_user("nobody");
  ASSERT_TRUE(nobody) << nobody.error().message();
  EXPECT_NE(nobody->uid, 0U);
  EXPECT_FALSE(nobody->groups.empty());
  const auto root = find_user("root");
  ASSERT_TRUE(root);
  EXPECT_EQ(is_this_user(*root), ::geteuid() == 0);
  const auto none = find_user("no-such-user");
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, ErrorCode::kInvalidArgument);
}

/// What /bin/sh says as nobody.
std::string said_by_nobody(const std::string& line) {
  ProcessSpec spec;
  spec.words = {"/bin/sh", "-c", line};
  spec.user = *find_user("nobody");
  const auto ran = run_child(spec, -1, Deadline::after_ns(20'000'000'000));
  return ran ? ran->out + ran->errors : ran.error().message();
}

TEST(User, AProgramHasNoneOfRootsRights) {
  if (::geteuid() != 0) {
    EXPECT_EQ(said_by_nobody("id -un"), "it cannot become another user (be root)\n");
    GODWIT_MISSING("surroundings", "becoming another user takes root");
  }
  std::vector<gid_t> before(static_cast<std::size_t>(::getgroups(0, nullptr)));
  ::getgroups(static_cast<int>(before.size()), before.data());
  const gid_t of_roots = 0;
  ASSERT_EQ(::setgroups(1, &of_roots), 0);
  EXPECT_EQ(said_by_nobody("id -un"), "nobody\n");
  EXPECT_EQ(said_by_nobody("id -Gn"), "nogroup\n") << "root's groups are gone too";
  ASSERT_EQ(::setgroups(before.size(), before.data()), 0);
  EXPECT_EQ(said_by_nobody("sed -n 's/^CapEff:\\t//p' /proc/self/status"), "0000000000000000\n");
  EXPECT_EQ(
      said_by_nobody("sed -n 's/^Max nice priority  *\\([0-9]*\\) .*/\\1/p' /proc/self/limits"),
      "0\n")
      << "else nice below 0 were free to it";
}

TEST(User, AChangeOfUsersDoesNotUnbindItFromItsMaker) {
  if (::geteuid() != 0) {
    GODWIT_MISSING("surroundings", "becoming another user takes root");
  }
  const auto directory = TemporaryDirectory::create();
  ASSERT_TRUE(directory);
  ::chmod(directory->file("").c_str(), 0777);
  const auto note = directory->file("pid");
  const auto noted = [&note] {
    pid_t pid = 0;
    std::ifstream(note) >> pid;
    return pid;
  };
  const auto maker = ::fork();
  if (maker == 0) {
    ProcessSpec spec;
    spec.words = {"/bin/sh",
                  "-c",
                  "echo $$ >" + note + ".new; mv " + note + ".new " + note + "; exec sleep 60"};
    spec.user = *find_user("nobody");
    const auto process = Process::start(spec);
    ::pause();
  }
  EXPECT_TRUE(test::eventually([&] { return noted() > 0; }));
  const auto process = "/proc/" + std::to_string(noted());
  EXPECT_TRUE(std::filesystem::exists(process));
  ::kill(maker, SIGKILL);
  ::waitpid(maker, nullptr, 0);
  EXPECT_TRUE(test::eventually([&] { return !std::filesystem::exists(process); }));
}

TEST(User, WhatItCannotReachIsNamed) {
  if (::geteuid() != 0) {
    GODWIT_MISSING("surroundings", "becoming another user takes root");
  }
  const auto nobody = *find_user("nobody");
  EXPECT_EQ(why_not_executable(nobody, "/bin/sh"), "");
  EXPECT_EQ(why_not_openable(nobody, "/dev/null"), "");
  const auto directory = TemporaryDirectory::create();  // 0700
  ASSERT_TRUE(directory);
  const auto hidden = directory->file("sh");
  std::filesystem::copy_file("/bin/sh", hidden);
  const auto reason = why_not_executable(nobody, hidden);
  EXPECT_NE(reason.find("user nobody cannot execute " + hidden), std::string::npos) << reason;
  EXPECT_NE(reason.find("Permission denied"), std::string::npos) << reason;
  EXPECT_NE(why_not_openable(nobody, hidden).find("cannot open"), std::string::npos);
  EXPECT_EQ(::geteuid(), 0U) << "this process stays who it is";
}

}  // namespace
}  // namespace godwit::lab
