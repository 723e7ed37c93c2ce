#include "ground/child.h"

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

#include "godwit/base/fd.h"

namespace godwit::lab {
namespace {

/// For a migration to be cancelled, both guests to be stopped and their memory to be freed.
constexpr std::int64_t kEndNs = 20'000'000'000;

struct Pipe {
  Fd read;
  Fd write;
};

Result<Pipe> make_pipe() {
  std::array<int, 2> fds{};
  if (::pipe2(fds.data(), O_CLOEXEC) != 0) {
    return fail_errno(errno, "pipe");
  }
  return Pipe{Fd(fds[0]), Fd(fds[1])};
}

[[noreturn]] void become(char* const* words, int out, int errors, pid_t parent) {
  // A group of its own: a Ctrl-C at the terminal reaches the lab, which passes it on once.
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (::getppid() != parent) {
    ::_exit(127);  // the parent died before prctl() could bind us to it
  }
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::signal(SIGPIPE, SIG_DFL);
  ::dup2(out, STDOUT_FILENO);
  ::dup2(errors, STDERR_FILENO);
  ::execv(words[0], words);
  ::_exit(127);
}

/// Appends what is there; false at its end.
bool drain(int fd, std::string& text) {
  std::array<char, 16384> buffer;
  const auto got = ::read(fd, buffer.data(), buffer.size());
  if (got > 0) {
    text.append(buffer.data(), static_cast<std::size_t>(got));
  }
  return got > 0 || (got < 0 && errno == EINTR);
}

int wait_ms(Deadline deadline) {
  const auto left = deadline.left_ns();
  return left == INT64_MAX
             ? -1
             : static_cast<int>(std::min<std::int64_t>(left / 1'000'000 + 1, 1 << 30));
}

/// Reads both outputs until the process has ended, and ends it when it has to.
class Watch {
 public:
  Watch(pid_t pid, Fd ended, Fd out, Fd errors, int interrupt_fd, Deadline deadline)
      : pid_(pid),
        ended_(std::move(ended)),
        out_(std::move(out)),
        errors_(std::move(errors)),
        interrupt_fd_(interrupt_fd),
        deadline_(deadline) {}

  ChildResult run() {
    while (!step()) {
    }
    while (out_.valid() && drain(out_.get(), result_.out)) {
    }
    while (errors_.valid() && drain(errors_.get(), result_.errors)) {
    }
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    result_.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return std::move(result_);
  }

 private:
  /// One wait; true when the process has ended.
  bool step() {
    std::array<pollfd, 4> polled{{{ended_.get(), POLLIN, 0},
                                  {out_.valid() ? out_.get() : -1, POLLIN, 0},
                                  {errors_.valid() ? errors_.get() : -1, POLLIN, 0},
                                  {told_ ? -1 : interrupt_fd_, POLLIN, 0}}};
    if (::poll(polled.data(), polled.size(), wait_ms(deadline_)) < 0 && errno != EINTR) {
      ::kill(pid_, SIGKILL);
      return true;
    }
    if (polled[1].revents != 0 && !drain(out_.get(), result_.out)) {
      out_.reset();
    }
    if (polled[2].revents != 0 && !drain(errors_.get(), result_.errors)) {
      errors_.reset();
    }
    if (polled[0].revents != 0) {
      return true;
    }
    if (polled[3].revents != 0) {
      result_.interrupted = true;
      tell();
    } else if (deadline_.passed()) {
      end_overdue();
    }
    return false;
  }
  void tell() {
    told_ = true;
    ::kill(pid_, SIGINT);
    deadline_ = Deadline::after_ns(kEndNs);
  }
  void end_overdue() {
    if (told_) {
      ::kill(pid_, SIGKILL);
      deadline_ = Deadline::never();
      return;
    }
    result_.timed_out = true;
    tell();
  }

  pid_t pid_;
  Fd ended_;
  Fd out_;
  Fd errors_;
  int interrupt_fd_;
  Deadline deadline_;
  bool told_ = false;
  ChildResult result_;
};

}  // namespace

Result<ChildResult> run_child(const std::vector<std::string>& words,
                              int interrupt_fd,
                              Deadline deadline) {
  if (::access(words.front().c_str(), X_OK) != 0) {
    return fail_errno(errno, "start", words.front());
  }
  auto copies = words;
  std::vector<char*> pointers;
  for (auto& word : copies) {
    pointers.push_back(word.data());
  }
  pointers.push_back(nullptr);
  GODWIT_TRY_ASSIGN(auto out, make_pipe());
  GODWIT_TRY_ASSIGN(auto errors, make_pipe());
  const auto parent = ::getpid();
  const auto pid = ::fork();
  if (pid == 0) {
    become(pointers.data(), out.write.get(), errors.write.get(), parent);
  }
  if (pid < 0) {
    return fail_errno(errno, "fork");
  }
  out.write.reset();
  errors.write.reset();
  Fd ended(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!ended.valid()) {
    const auto cause = errno;
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
    return fail_errno(cause, "pidfd_open");
  }
  return Watch(pid,
               std::move(ended),
               std::move(out.read),
               std::move(errors.read),
               interrupt_fd,
               deadline)
      .run();
}

}  // namespace godwit::lab
