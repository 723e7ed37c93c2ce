// Hosts that forbid io_uring, by one of its system calls or all: poll takes its place, or what was
// asked for is refused. The command runs as an ordinary user under a seccomp filter.

#include <sys/syscall.h>
#include <unistd.h>

#include <csignal>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/command/command.h"
#include "support/command/surroundings.h"
#include "support/temporary_directory.h"

namespace godwit::test {
namespace {

using testing::HasSubstr;
using testing::Not;

/// An ordinary user without the system call `forbidden`.
Prepare without(unsigned forbidden) {
  return [forbidden] {
    become_nobody();
    forbid(forbidden);
  };
}

std::string demo(const std::string& more = "") {
  return "demo --guest process --memory 32MiB --workload random-write --mode hybrid " + more;
}

class NoUring : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) {
      GODWIT_MISSING("surroundings", "needs root to become another user");
    }
  }
};

// Rings that cannot be made, and rings that can be made but not used.
constexpr unsigned kIoUringCalls[] = {
    SYS_io_uring_setup, SYS_io_uring_enter, SYS_io_uring_register};

TEST_F(NoUring, WithoutIoUringTheReasonIsSaidAndPollTakesItsPlace) {
  for (const auto call : kIoUringCalls) {
    const auto ran = run(demo(), without(call));
    EXPECT_EQ(ran.code, 0) << call << "\n" << ran.all();
    EXPECT_THAT(ran.all(),
                HasSubstr("transport: poll (chosen by --transport auto; io_uring is not usable: "));
    EXPECT_THAT(ran.all(), HasSubstr("seccomp"));
  }
}

TEST_F(NoUring, IoUringThatIsAskedForAndForbiddenEndsWithTheReason) {
  for (const auto call : kIoUringCalls) {
    const auto ran = run(demo("--transport uring"), without(call));
    EXPECT_EQ(ran.code, 3) << call << "\n" << ran.all();
    EXPECT_THAT(ran.all(), HasSubstr("io_uring"));
  }
}

TEST_F(NoUring, PollIsTakenWithoutAskingForIoUring) {
  const auto ran = run(demo("--json --transport poll"), without(SYS_io_uring_setup));
  EXPECT_EQ(ran.code, 0) << ran.all();
  EXPECT_EQ(ran.json["transport"], "poll");
  EXPECT_THAT(ran.all(), Not(HasSubstr("io_uring")));
}

TEST_F(NoUring, MigrateLearnsThatTheGuestsProcessHasNoIoUring) {
  const TemporaryDirectory directory;
  const auto control = directory.at("guest");
  Process guest("run --guest process --memory 32MiB --control " + control,
                without(SYS_io_uring_setup));
  EXPECT_EQ(guest.first_line(), "serving " + control);
  EXPECT_THAT(guest.err(), HasSubstr("transport: poll"));
  // Who asks may use io_uring; who runs the guest may not.
  const auto ran = run("migrate --control " + control + " --to tcp:127.0.0.1:1 --transport uring",
                       become_nobody);
  EXPECT_EQ(ran.code, 3) << ran.all();
  EXPECT_THAT(ran.all(), HasSubstr("io_uring_setup"));
  guest.signal(SIGTERM);
  guest.wait();
}

}  // namespace
}  // namespace godwit::test
