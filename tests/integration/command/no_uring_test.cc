// Hosts that forbid io_uring, by one of its system calls or all: poll takes its place, or what was
// asked for is refused. The command runs as an ordinary user under a seccomp filter.

#include <fcntl.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "support/json_view.h"
#include "support/require.h"

namespace godwit::test {
namespace {

constexpr unsigned kNobody = 65534;

void forbid(unsigned call) {
  sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program{static_cast<unsigned short>(std::size(filter)), filter};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
      ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) != 0) {
    ::_exit(120);
  }
}

struct Ran {
  int code;
  std::string out;
};

struct Started {
  pid_t pid;
  int out;
};

/// Starts the command as nobody without the system call `forbidden`.
Started start_without(unsigned forbidden, const std::vector<std::string>& arguments) {
  int out[2];
  EXPECT_EQ(::pipe2(out, O_CLOEXEC), 0);
  const auto child = ::fork();
  if (child == 0) {
    ::dup2(out[1], STDOUT_FILENO);
    ::dup2(out[1], STDERR_FILENO);
    const int self = ::open(GODWIT_COMMAND, O_RDONLY);
    if (self < 0 || ::setgroups(0, nullptr) != 0 || ::setgid(kNobody) != 0 ||
        ::setuid(kNobody) != 0 || ::chdir("/tmp") != 0) {
      ::_exit(121);
    }
    forbid(forbidden);
    std::vector<char*> argv{const_cast<char*>("godwit")};
    for (const auto& argument : arguments) {
      argv.push_back(const_cast<char*>(argument.c_str()));
    }
    argv.push_back(nullptr);
    ::fexecve(self, argv.data(), environ);
    ::_exit(122);
  }
  ::close(out[1]);
  return {child, out[0]};
}

/// Runs it to its end.
Ran run_without(unsigned forbidden, const std::vector<std::string>& arguments) {
  const auto started = start_without(forbidden, arguments);
  Ran ran{-1, {}};
  char buffer[4096];
  for (ssize_t got = 0; (got = ::read(started.out, buffer, sizeof buffer)) > 0;) {
    ran.out.append(buffer, static_cast<std::size_t>(got));
  }
  ::close(started.out);
  int status = 0;
  ::waitpid(started.pid, &status, 0);
  ran.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return ran;
}

std::vector<std::string> demo(const std::string& mode) {
  return {"demo",
          "--guest",
          "process",
          "--memory",
          "32MiB",
          "--workload",
          "random-write",
          "--mode",
          mode};
}

class NoUring : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) {
      GODWIT_MISSING("surroundings", "needs root to become another user");
    }
    if (::access(GODWIT_COMMAND, X_OK) != 0) {
      FAIL() << "no command under test";
    }
  }
};

// Rings that cannot be made, and rings that can be made but not used.
constexpr unsigned kIoUringCalls[] = {
    SYS_io_uring_setup, SYS_io_uring_enter, SYS_io_uring_register};

TEST_F(NoUring, WithoutIoUringTheReasonIsSaidAndPollTakesItsPlace) {
  for (const auto call : kIoUringCalls) {
    const auto ran = run_without(call, demo("hybrid"));
    EXPECT_EQ(ran.code, 0) << call << "\n" << ran.out;
    EXPECT_NE(ran.out.find("transport: poll (chosen by --transport auto; io_uring is not usable: "),
              std::string::npos)
        << ran.out;
    EXPECT_NE(ran.out.find("seccomp"), std::string::npos) << ran.out;
  }
}

TEST_F(NoUring, IoUringThatIsAskedForAndForbiddenEndsWithTheReason) {
  for (const auto call : kIoUringCalls) {
    auto arguments = demo("hybrid");
    arguments.insert(arguments.end(), {"--transport", "uring"});
    const auto ran = run_without(call, arguments);
    EXPECT_EQ(ran.code, 3) << call << "\n" << ran.out;
    EXPECT_NE(ran.out.find("io_uring"), std::string::npos) << ran.out;
  }
}

TEST_F(NoUring, PollIsTakenWithoutAskingForIoUring) {
  auto arguments = demo("hybrid");
  arguments.insert(arguments.end(), {"--json", "--transport", "poll"});
  const auto ran = run_without(SYS_io_uring_setup, arguments);
  EXPECT_EQ(ran.code, 0) << ran.out;
  EXPECT_NE(ran.out.find("\"transport\": \"poll\""), std::string::npos) << ran.out;
  EXPECT_EQ(ran.out.find("io_uring"), std::string::npos) << ran.out;
}

TEST_F(NoUring, MigrateLearnsThatTheGuestsProcessHasNoIoUring) {
  const auto control = "/tmp/godwit-no-uring-" + std::to_string(::getpid());
  const auto started = start_without(
      SYS_io_uring_setup, {"run", "--guest", "process", "--memory", "32MiB", "--control", control});
  std::string said;
  char byte = 0;
  while (said.find("serving") == std::string::npos && ::read(started.out, &byte, 1) == 1) {
    said += byte;
  }
  EXPECT_NE(said.find("transport: poll"), std::string::npos) << said;
  // Who asks may use io_uring; who runs the guest may not.
  const auto ran = run_without(
      SYS_personality,
      {"migrate", "--control", control, "--to", "tcp:127.0.0.1:1", "--transport", "uring"});
  EXPECT_EQ(ran.code, 3) << ran.out;
  EXPECT_NE(ran.out.find("io_uring_setup"), std::string::npos) << ran.out;
  ::kill(started.pid, SIGTERM);
  ::waitpid(started.pid, nullptr, 0);
  ::close(started.out);
}

}  // namespace
}  // namespace godwit::test
