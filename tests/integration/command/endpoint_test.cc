// Addresses and transports on the command line: what each process prints, leaves behind and ends
// with.

#include <sys/stat.h>
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

/// Everything that it says goes to one place, in order.
void one_stream() {
  or_leave(::dup2(STDOUT_FILENO, STDERR_FILENO) == STDERR_FILENO);
}

class Endpoint : public testing::Test {
 protected:
  void TearDown() override {
    for (const auto* name : {"socket", "control", "other"}) {
      ::unlink(at(name).c_str());
    }
    EXPECT_THAT(directory_.names(), testing::IsEmpty()) << "something was left";
  }
  [[nodiscard]] std::string at(const std::string& name) const { return directory_.at(name); }
  [[nodiscard]] std::string receive() const {
    return "receive --control " + at("control") + " --listen unix:" + at("socket");
  }

  TemporaryDirectory directory_;
};

TEST_F(Endpoint, AUnixSocketIsToldFirstAndGoesAtTheEnd) {
  Process first(receive(), one_stream);
  // Nothing stands before it: no warning of plain text.
  EXPECT_EQ(first.first_line(), "unix:" + at("socket"));
  struct stat info {};
  ASSERT_EQ(::stat(at("socket").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777U, 0600U);
  EXPECT_EQ(run("receive --control " + at("other") + " --listen unix:" + at("socket")).code, 3);
  first.signal(SIGTERM);
  first.wait();
  EXPECT_NE(::stat(at("socket").c_str(), &info), 0);
}

TEST_F(Endpoint, WhatAKilledProcessLeftIsReplaced) {
  {
    Process killed(receive());
    ASSERT_EQ(killed.first_line(), "unix:" + at("socket"));
    killed.signal(SIGKILL);
    EXPECT_EQ(killed.wait(), -SIGKILL);
  }
  ASSERT_EQ(::access(at("socket").c_str(), F_OK), 0);
  Process second(receive(), one_stream);
  EXPECT_EQ(second.first_line(), "unix:" + at("socket"));
  second.signal(SIGTERM);
  EXPECT_EQ(second.wait(), 0);
}

TEST_F(Endpoint, MigrateChoosesForTheProcessOfTheGuest) {
  Process target(receive());
  ASSERT_EQ(target.first_line(), "unix:" + at("socket"));
  Process source("run --control " + at("other") + " --memory 32MiB --guest process");
  ASSERT_EQ(source.first_line(), "serving " + at("other"));
  const auto ran = run("migrate --json --control " + at("other") + " --to unix:" + at("socket") +
                       " --transport poll");
  EXPECT_EQ(ran.code, 0) << ran.all();
  ASSERT_TRUE(ran.json.is_object());
  EXPECT_EQ(ran.json["transport"], "poll");
  EXPECT_EQ(ran.json["congestion"], "none");
  EXPECT_EQ(run("stop --control " + at("control")).code, 0);
  EXPECT_EQ(target.wait(), 0);
}

TEST_F(Endpoint, WrongAddressesAndTransportsAreUsageErrors) {
  for (const auto& arguments : {std::string("--to udp:127.0.0.1:1"),
                                std::string("--to unix:"),
                                "--to unix:/tmp/" + std::string(108, 'x'),
                                std::string("--to /tmp/socket"),
                                std::string("--to tcp:127.0.0.1:0 --listen unix:/tmp/other"),
                                std::string("--transport fast")}) {
    EXPECT_EQ(run("demo " + arguments).code, 2) << arguments;
  }
}

TEST_F(Endpoint, APathThatCannotBeASocketIsTheEnvironmentsFault) {
  EXPECT_EQ(run("receive --control " + at("control") + " --listen unix:/nonexistent/socket").code,
            3);
  EXPECT_EQ(run("receive --control " + at("control") + " --listen unix:/dev/null").code, 3);
}

}  // namespace
}  // namespace godwit::test
