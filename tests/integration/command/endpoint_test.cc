// Addresses and transports on the command line: what each process prints, leaves behind and ends
// with.

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <vector>

#include <gtest/gtest.h>

#include "support/command/command.h"

namespace godwit::test {
namespace {

/// A command that keeps running.
class Background {
 public:
  explicit Background(const std::vector<std::string>& arguments) {
    int out[2];
    EXPECT_EQ(::pipe2(out, O_CLOEXEC), 0);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::dup2(out[1], STDOUT_FILENO);
      ::dup2(out[1], STDERR_FILENO);
      std::vector<char*> argv{const_cast<char*>("godwit")};
      for (const auto& argument : arguments) {
        argv.push_back(const_cast<char*>(argument.c_str()));
      }
      argv.push_back(nullptr);
      ::execv(GODWIT_COMMAND, argv.data());
      ::_exit(127);
    }
    ::close(out[1]);
    out_ = out[0];
  }
  ~Background() {
    end(SIGKILL);
    ::close(out_);
  }
  Background(const Background&) = delete;
  Background& operator=(const Background&) = delete;

  std::string first_line() const {
    std::string line;
    char byte = 0;
    pollfd polled{out_, POLLIN, 0};
    while (::poll(&polled, 1, 30'000) > 0 && ::read(out_, &byte, 1) == 1 && byte != '\n') {
      line += byte;
    }
    return line;
  }
  /// Its exit code, or minus the signal.
  int end(int signal) {
    if (pid_ <= 0) {
      return -1;
    }
    ::kill(pid_, signal);
    int status = 0;
    ::waitpid(pid_, &status, 0);
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }

 private:
  pid_t pid_ = -1;
  int out_ = -1;
};

class Endpoint : public testing::Test {
 protected:
  void SetUp() override {
    directory_ = "/tmp/godwit-endpoint-XXXXXX";
    ASSERT_NE(::mkdtemp(directory_.data()), nullptr);
  }
  void TearDown() override {
    for (const auto* name : {"socket", "control", "other"}) {
      ::unlink(at(name).c_str());
    }
    EXPECT_EQ(::rmdir(directory_.c_str()), 0) << "something was left in " << directory_;
  }
  [[nodiscard]] std::string at(const std::string& name) const { return directory_ + "/" + name; }
  [[nodiscard]] std::vector<std::string> receive() const {
    return {"receive", "--control", at("control"), "--listen", "unix:" + at("socket")};
  }

  std::string directory_;
};

TEST_F(Endpoint, AUnixSocketIsToldFirstAndGoesAtTheEnd) {
  Background first(receive());
  // Nothing stands before it: no warning of plain text.
  EXPECT_EQ(first.first_line(), "unix:" + at("socket"));
  struct stat info {};
  ASSERT_EQ(::stat(at("socket").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777U, 0600U);
  EXPECT_EQ(run_command("receive --control " + at("other") + " --listen unix:" + at("socket")).code,
            3);
  first.end(SIGTERM);
  EXPECT_NE(::stat(at("socket").c_str(), &info), 0);
}

TEST_F(Endpoint, WhatAKilledProcessLeftIsReplaced) {
  {
    Background killed(receive());
    ASSERT_EQ(killed.first_line(), "unix:" + at("socket"));
    EXPECT_EQ(killed.end(SIGKILL), -SIGKILL);
  }
  ASSERT_EQ(::access(at("socket").c_str(), F_OK), 0);
  Background second(receive());
  EXPECT_EQ(second.first_line(), "unix:" + at("socket"));
  second.end(SIGTERM);
}

TEST_F(Endpoint, MigrateChoosesForTheProcessOfTheGuest) {
  Background target(receive());
  ASSERT_EQ(target.first_line(), "unix:" + at("socket"));
  Background source({"run", "--control", at("other"), "--memory", "32MiB", "--guest", "process"});
  ASSERT_EQ(source.first_line(), "serving " + at("other"));
  const auto ran = run_command("migrate --json --control " + at("other") +
                               " --to unix:" + at("socket") + " --transport poll");
  EXPECT_EQ(ran.code, 0) << ran.out;
  ASSERT_TRUE(ran.report.is_object());
  EXPECT_EQ(ran.report["transport"], "poll");
  EXPECT_EQ(ran.report["congestion"], "none");
  EXPECT_EQ(run_command("stop --control " + at("control")).code, 0);
  EXPECT_EQ(target.end(0), 0);
}

TEST_F(Endpoint, WrongAddressesAndTransportsAreUsageErrors) {
  for (const auto& arguments : {std::string("--to udp:127.0.0.1:1"),
                                std::string("--to unix:"),
                                "--to unix:/tmp/" + std::string(108, 'x'),
                                std::string("--to /tmp/socket"),
                                std::string("--to tcp:127.0.0.1:0 --listen unix:/tmp/other"),
                                std::string("--transport fast")}) {
    EXPECT_EQ(run_command("demo " + arguments).code, 2) << arguments;
  }
}

TEST_F(Endpoint, APathThatCannotBeASocketIsTheEnvironmentsFault) {
  EXPECT_EQ(
      run_command("receive --control " + at("control") + " --listen unix:/nonexistent/socket").code,
      3);
  EXPECT_EQ(run_command("receive --control " + at("control") + " --listen unix:/dev/null").code, 3);
}

}  // namespace
}  // namespace godwit::test
