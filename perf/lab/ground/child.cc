#include "ground/child.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

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

/// Appends what is there; false at its end.
bool drain(int fd, std::string& text) {
  std::array<char, 16384> buffer;
  const auto got = ::read(fd, buffer.data(), buffer.size());
  if (got > 0) {
    text.append(buffer.data(), static_cast<std::size_t>(got));
  }
  return got > 0 || (got < 0 && errno == EINTR);
}

/// Reads both outputs until the process has ended, and ends it when it has to.
class Watch {
 public:
  Watch(Process process, Fd out, Fd errors, int interrupt_fd, Deadline deadline)
      : process_(std::move(process)),
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
    result_.exit_code = process_.wait();
    return std::move(result_);
  }

 private:
  /// One wait; true when the process has ended.
  bool step() {
    std::array<pollfd, 4> polled{{{process_.ended_fd(), POLLIN, 0},
                                  {out_.valid() ? out_.get() : -1, POLLIN, 0},
                                  {errors_.valid() ? errors_.get() : -1, POLLIN, 0},
                                  {told_ ? -1 : interrupt_fd_, POLLIN, 0}}};
    if (::poll(polled.data(), polled.size(), poll_ms(deadline_)) < 0 && errno != EINTR) {
      process_.signal(SIGKILL);
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
    process_.signal(SIGINT);
    deadline_ = Deadline::after_ns(kEndNs);
  }
  void end_overdue() {
    if (told_) {
      process_.signal(SIGKILL);
      deadline_ = Deadline::never();
      return;
    }
    result_.timed_out = true;
    tell();
  }

  Process process_;
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
  ProcessSpec spec;
  spec.words = words;
  return run_child(std::move(spec), interrupt_fd, deadline);
}

Result<ChildResult> run_child(ProcessSpec spec, int interrupt_fd, Deadline deadline) {
  GODWIT_TRY_ASSIGN(auto out, make_pipe());
  GODWIT_TRY_ASSIGN(auto errors, make_pipe());
  spec.out_fd = out.write.get();
  spec.error_fd = errors.write.get();
  GODWIT_TRY_ASSIGN(auto process, Process::start(spec));
  out.write.reset();
  errors.write.reset();
  return Watch(std::move(process),
               std::move(out.read),
               std::move(errors.read),
               interrupt_fd,
               deadline)
      .run();
}

}  // namespace godwit::lab
