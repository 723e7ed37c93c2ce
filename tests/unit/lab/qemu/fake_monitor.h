#pragma once

#include <sys/socket.h>

#include <array>
#include <functional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "godwit/base/fd.h"

namespace godwit::lab {

constexpr const char* kGreeting =
    R"({"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}}, "capabilities": []}})"
    "\r\n";

/// The other side of a monitor: answers each command as a test says.
class FakeMonitor {
 public:
  using Answer = std::function<std::string(std::string_view command)>;

  /// It ends when there is no answer.
  explicit FakeMonitor(Answer answer) {
    std::array<int, 2> fds{};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds.data()), 0);
    ours_ = Fd(fds[0]);
    theirs_ = Fd(fds[1]);
    thread_ = std::jthread([fd = ours_.get(), answer = std::move(answer)] {
      ::send(fd, kGreeting, std::string_view(kGreeting).size(), MSG_NOSIGNAL);
      std::array<char, 4096> command;
      for (;;) {
        const auto got = ::recv(fd, command.data(), command.size(), 0);
        const auto text =
            got > 0 ? answer({command.data(), static_cast<std::size_t>(got)}) : std::string();
        if (text.empty()) {
          return;
        }
        ::send(fd, text.data(), text.size(), MSG_NOSIGNAL);
      }
    });
  }
  /// Answers each command by the next of `answers`.
  explicit FakeMonitor(std::vector<std::string> answers)
      : FakeMonitor([answers = std::move(answers), at = std::size_t{0}](auto) mutable {
          return at < answers.size() ? answers[at++] : std::string();
        }) {}
  Fd take() { return std::move(theirs_); }

 private:
  Fd ours_;
  Fd theirs_;
  std::jthread thread_;
};

}  // namespace godwit::lab
