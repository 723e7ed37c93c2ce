#include "ground/process.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <sstream>
#include <string_view>
#include <utility>

namespace godwit::lab {
namespace {

/// For who waits for the program's outputs.
[[noreturn]] void give_up(const ProcessSpec& spec, std::string_view why) {
  (void)!::write(spec.error_fd >= 0 ? spec.error_fd : STDERR_FILENO, why.data(), why.size());
  ::_exit(127);
}

/// Only calls that are safe after a fork.
[[noreturn]] void become(const ProcessSpec& spec, char* const* words, pid_t parent) {
  ::setpgid(0, 0);
  if (spec.network_fd >= 0 && ::setns(spec.network_fd, CLONE_NEWNET) != 0) {
    give_up(spec, "its network namespace cannot be entered\n");
  }
  if (spec.cgroup_fd >= 0 && ::write(spec.cgroup_fd, "0", 1) != 1) {
    give_up(spec, "its control group cannot be joined\n");
  }
  if (spec.user && !become_user(*spec.user)) {
    give_up(spec, "it cannot become another user (be root)\n");
  }
  // A change of users forgets it, so it comes after.
  ::prctl(PR_SET_PDEATHSIG, static_cast<unsigned long>(spec.death_signal));
  if (::getppid() != parent) {
    ::_exit(127);  // the parent died before prctl() could bind us to it
  }
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::signal(SIGPIPE, SIG_DFL);
  ::dup2(spec.out_fd, STDOUT_FILENO);
  ::dup2(spec.error_fd, STDERR_FILENO);
  if (spec.kept_fd >= 0) {
    ::fcntl(spec.kept_fd, F_SETFD, 0);
  }
  ::execv(words[0], words);
  give_up(spec, "it cannot be executed\n");
}

}  // namespace

Result<Process> Process::start(const ProcessSpec& spec) {
  if (::access(spec.words.front().c_str(), X_OK) != 0) {
    return fail_errno(errno, "start", spec.words.front());
  }
  auto words = spec.words;
  std::vector<char*> pointers;
  for (auto& word : words) {
    pointers.push_back(word.data());
  }
  pointers.push_back(nullptr);
  const auto parent = ::getpid();
  const auto pid = ::fork();
  if (pid == 0) {
    become(spec, pointers.data(), parent);
  }
  if (pid < 0) {
    return fail_errno(errno, "fork");
  }
  Fd ended(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  const auto cause = errno;
  Process process(pid, std::move(ended));
  if (!process.ended_.valid()) {
    return fail_errno(cause, "pidfd_open");
  }
  return process;
}

Process::Process(Process&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)), ended_(std::move(other.ended_)) {}

Process::~Process() {
  if (pid_ > 0) {
    signal(SIGKILL);
    wait();
  }
}

void Process::signal(int number) const {
  ::kill(pid_, number);
}

bool Process::has_ended(Deadline deadline) const {
  for (;;) {
    pollfd polled{ended_.get(), POLLIN, 0};
    const auto ready = ::poll(&polled, 1, poll_ms(deadline));
    if (ready > 0) {
      return true;
    }
    if ((ready < 0 && errno != EINTR) || deadline.passed()) {
      return false;
    }
  }
}

int Process::wait() {
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

std::int64_t Process::cpu_ns() const {
  clockid_t clock{};
  timespec time{};
  if (::clock_getcpuclockid(pid_, &clock) != 0 || ::clock_gettime(clock, &time) != 0) {
    return 0;
  }
  return time.tv_sec * 1'000'000'000LL + time.tv_nsec;
}

std::string find_program(const std::string& program) {
  if (program.find('/') != std::string::npos) {
    return ::access(program.c_str(), X_OK) == 0 ? program : std::string();
  }
  const auto* path = std::getenv("PATH");
  std::istringstream directories(path == nullptr ? "" : path);
  for (std::string directory; std::getline(directories, directory, ':');) {
    const auto candidate = directory + "/" + program;
    // A relative entry would start what lies in some directory of results.
    if (directory.starts_with('/') && ::access(candidate.c_str(), X_OK) == 0) {
      return candidate;
    }
  }
  return {};
}

int poll_ms(Deadline deadline) {
  const auto left = deadline.left_ns();
  return left == INT64_MAX
             ? -1
             : static_cast<int>(std::min<std::int64_t>(left / 1'000'000 + 1, 1 << 30));
}

}  // namespace godwit::lab
