#include "cli/output.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <string>

#include <gtest/gtest.h>

#include "godwit/base/clock.h"
#include "godwit/base/fd.h"

namespace godwit::app {
namespace {

/// stderr is a pipe that nobody reads.
class UnreadStderr : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(::pipe2(ends_.data(), O_CLOEXEC), 0);
    before_ = Fd(::dup(STDERR_FILENO));
    ASSERT_EQ(::dup2(ends_[1], STDERR_FILENO), STDERR_FILENO);
  }
  void TearDown() override {
    ::dup2(before_.get(), STDERR_FILENO);
    ::close(ends_[0]);
    ::close(ends_[1]);
  }
  std::string read_all() {
    std::string text;
    ::fcntl(ends_[0], F_SETFL, O_NONBLOCK);
    std::array<char, 65536> buffer{};
    for (ssize_t got = 0; (got = ::read(ends_[0], buffer.data(), buffer.size())) > 0;) {
      text.append(buffer.data(), static_cast<std::size_t>(got));
    }
    return text;
  }
  std::array<int, 2> ends_{};
  Fd before_;
};

TEST_F(UnreadStderr, LinesAreLostAndCountedAndNobodyWaits) {
  const std::string line = std::string(999, 'x') + "\n";
  constexpr int kLines = 2000;  // far more than a pipe holds
  for (int i = 0; i < kLines; ++i) {
    write_stderr(line, 0);
  }
  const auto before = read_all();
  const auto written = before.size() / line.size();
  EXPECT_GT(written, 0U);
  ASSERT_LT(written, static_cast<std::size_t>(kLines));
  EXPECT_EQ(before.size() % line.size(), 0U) << "whole lines only";
  write_stderr("and then\n", 0);
  EXPECT_EQ(read_all(),
            "godwit: " + std::to_string(kLines - written) +
                " lines are lost: nobody read them\nand then\n");
  write_stderr("as always\n", 0);
  EXPECT_EQ(read_all(), "as always\n");
}

TEST_F(UnreadStderr, ALineThatIsLongerThanThePipeIsCutAndEnds) {
  const auto deadline = Deadline::after_ns(60'000'000'000);
  write_stderr(std::string(1U << 20U, 'y'), 1);
  EXPECT_FALSE(deadline.passed());
  EXPECT_GT(read_all().size(), 4096U);
}

}  // namespace
}  // namespace godwit::app
