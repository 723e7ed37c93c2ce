#include "demo/child.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "cli/signals.h"

namespace godwit::app {
namespace {

int wait_ms(Deadline deadline) {
  const auto left = deadline.left_ns();
  return left == INT64_MAX
             ? -1
             : static_cast<int>(std::min<std::int64_t>(left / 1'000'000 + 1, 1 << 30));
}

[[noreturn]] void become(char* const* arguments, int output, pid_t parent) {
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) {
    ::_exit(1);  // the parent died before prctl() could bind us to it
  }
  Signals::unblock();
  ::dup2(output, STDOUT_FILENO);
  ::execv("/proc/self/exe", arguments);
  ::_exit(127);
}

}  // namespace

Result<DemoChild> DemoChild::start(const std::vector<std::string>& arguments,
                                   const NetworkNamespace& where) {
  std::vector<std::string> words{"godwit"};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> pointers;
  pointers.reserve(words.size() + 1);
  for (auto& word : words) {
    pointers.push_back(word.data());
  }
  pointers.push_back(nullptr);
  std::array<int, 2> pipe{};
  if (::pipe2(pipe.data(), O_CLOEXEC) != 0) {
    return fail_errno(errno, "pipe");
  }
  Fd read_end(pipe[0]);
  const Fd write_end(pipe[1]);
  const auto parent = ::getpid();
  pid_t pid = -1;
  GODWIT_TRY(where.within([&]() -> Status {
    pid = ::fork();  // a child is where its parent is now
    if (pid == 0) {
      become(pointers.data(), write_end.get(), parent);
    }
    return pid < 0 ? Status(fail_errno(errno, "fork")) : Status();
  }));
  Fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!pidfd.valid()) {
    const auto cause = errno;
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
    return fail_errno(cause, "pidfd_open");
  }
  return DemoChild(pid, std::move(pidfd), std::move(read_end));
}

DemoChild::DemoChild(DemoChild&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      pidfd_(std::move(other.pidfd_)),
      output_(std::move(other.output_)) {}

DemoChild::~DemoChild() {
  if (pid_ > 0) {
    wait(Deadline::after_ns(0));
  }
}

Result<std::string> DemoChild::first_line(int interrupt_fd, Deadline deadline) {
  std::string text;
  for (;;) {
    std::array<pollfd, 2> polled{{{output_.get(), POLLIN, 0}, {interrupt_fd, POLLIN, 0}}};
    const auto ready = ::poll(polled.data(), polled.size(), wait_ms(deadline));
    if (ready < 0 && errno != EINTR) {
      return fail_errno(errno, "poll");
    }
    if (ready <= 0) {
      if (deadline.passed()) {
        return fail(ErrorCode::kTimeout, "child process", "did not get ready in time");
      }
      continue;
    }
    if ((polled[1].revents & POLLIN) != 0) {
      return fail(ErrorCode::kCancelled, "child process", "interrupted");
    }
    std::array<char, 256> buffer;
    const auto got = ::read(output_.get(), buffer.data(), buffer.size());
    if (got <= 0) {
      return fail(ErrorCode::kClosed, "child process", "ended before it was ready");
    }
    text.append(buffer.data(), static_cast<std::size_t>(got));
    if (const auto end = text.find('\n'); end != std::string::npos) {
      return text.substr(0, end);
    }
  }
}

void DemoChild::terminate() const {
  if (pid_ > 0) {
    ::kill(pid_, SIGTERM);
  }
}

int DemoChild::wait(Deadline deadline) {
  if (pid_ < 0) {
    return 0;
  }
  for (;;) {
    pollfd polled{pidfd_.get(), POLLIN, 0};
    const auto ready = ::poll(&polled, 1, wait_ms(deadline));
    if (ready > 0) {
      break;
    }
    if (ready == 0 && deadline.passed()) {
      ::kill(pid_, SIGKILL);
      break;
    }
  }
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace godwit::app
