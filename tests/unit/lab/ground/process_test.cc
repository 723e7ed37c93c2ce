#include "ground/process.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <fstream>
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "ground/temporary_directory.h"

namespace godwit::lab {
namespace {

constexpr std::int64_t kSoonNs = 10'000'000'000;

Result<Process> shell(const std::string& line, int kept_fd = -1) {
  ProcessSpec spec;
  spec.words = {"/bin/sh", "-c", line};
  spec.kept_fd = kept_fd;
  return Process::start(spec);
}

TEST(Process, EndsWithItsCodeOrSignal) {
  auto seven = shell("exit 7");
  ASSERT_TRUE(seven);
  EXPECT_TRUE(seven->has_ended(Deadline::after_ns(kSoonNs)));
  EXPECT_EQ(seven->wait(), 7);
  auto sleeper = shell("exec sleep 60");
  ASSERT_TRUE(sleeper);
  EXPECT_FALSE(sleeper->has_ended(Deadline::after_ns(1'000'000)));
  sleeper->signal(SIGTERM);
  EXPECT_EQ(sleeper->wait(), 128 + SIGTERM);
}

TEST(Process, InheritsTheOneDescriptorThatItIsGiven) {
  std::array<int, 2> fds{};
  ASSERT_EQ(::pipe2(fds.data(), O_CLOEXEC), 0);
  const Fd read_end(fds[0]);
  Fd write_end(fds[1]);
  auto writer = shell("echo here >&" + std::to_string(write_end.get()), write_end.get());
  ASSERT_TRUE(writer);
  write_end.reset();
  EXPECT_EQ(writer->wait(), 0);
  std::array<char, 16> text{};
  ASSERT_EQ(::read(read_end.get(), text.data(), text.size()), 5);
  EXPECT_STREQ(text.data(), "here\n");
}

TEST(Process, IsGoneWithItsObject) {
  Fd ended;
  {
    auto sleeper = shell("exec sleep 60");
    ASSERT_TRUE(sleeper);
    ended = Fd(::dup(sleeper->ended_fd()));
    const Process moved = std::move(*sleeper);
    EXPECT_FALSE(moved.has_ended(Deadline::after_ns(0)));
    EXPECT_GE(moved.cpu_ns(), 0);
  }
  pollfd polled{ended.get(), POLLIN, 0};
  EXPECT_EQ(::poll(&polled, 1, 0), 1);
}

TEST(Process, AProgramThatIsNotThereIsAnError) {
  ProcessSpec spec;
  spec.words = {"/nowhere/program"};
  EXPECT_FALSE(Process::start(spec));
}

TEST(FindProgram, LooksInAbsoluteDirectoriesOfPath) {
  const auto directory = TemporaryDirectory::create();
  ASSERT_TRUE(directory);
  const auto path = directory->file("some-tool");
  std::ofstream(path) << "#!/bin/sh\n";
  const std::string before = std::getenv("PATH");
  ::setenv("PATH", ("relative::/nowhere:" + directory->file("")).c_str(), 1);
  EXPECT_EQ(find_program("some-tool"), "") << "nobody may execute it";
  ::chmod(path.c_str(), 0700);
  EXPECT_EQ(find_program("some-tool"), directory->file("") + "/some-tool");
  EXPECT_EQ(find_program(path), path);
  EXPECT_EQ(find_program("/nowhere/some-tool"), "");
  EXPECT_EQ(find_program("no-such-tool"), "");
  ::setenv("PATH", before.c_str(), 1);
}

TEST(PollMs, IsNeverForNeverAndAtLeastOne) {
  EXPECT_EQ(poll_ms(Deadline::never()), -1);
  EXPECT_EQ(poll_ms(Deadline::after_ns(0)), 1);
  EXPECT_GT(poll_ms(Deadline::after_ns(kSoonNs)), 9000);
  EXPECT_LE(poll_ms(Deadline::after_ns(INT64_MAX / 2)), 1 << 30);
}

}  // namespace
}  // namespace godwit::lab
