#include "load/busy_loops.h"

#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace godwit::lab {
namespace {

/// Only calls that are safe after a fork.
[[noreturn]] void loop(pid_t parent, std::int64_t longest_ns) {
  ::setpgid(0, 0);  // a Ctrl-C is for the lab
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  ::prctl(PR_SET_NAME, "godwit-load");
  if (::getppid() != parent) {
    ::_exit(1);  // the parent died before prctl() could bind us to it
  }
  ::close_range(0, ~0U, 0);  // it would keep links, sockets and a reader's pipe
  ::signal(SIGALRM, SIG_DFL);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  itimerval end{};
  end.it_value.tv_sec = std::max<time_t>(longest_ns / 1'000'000'000, 1);
  const sched_param no_priority{};
  if (::setitimer(ITIMER_REAL, &end, nullptr) != 0 ||
      ::sched_setscheduler(0, SCHED_OTHER, &no_priority) != 0 ||
      ::setpriority(PRIO_PROCESS, 0, 0) != 0) {
    ::_exit(1);  // its end is noticed
  }
  for (;;) {
    asm volatile("" ::: "memory");  // else a loop without effect may be left out
  }
}

}  // namespace

Result<BusyLoops> BusyLoops::start(unsigned count, std::int64_t longest_ns) {
  BusyLoops loops;
  const auto parent = ::getpid();
  for (unsigned i = 0; i < count; ++i) {
    const auto pid = ::fork();
    if (pid == 0) {
      loop(parent, longest_ns);
    }
    if (pid < 0) {
      return fail_errno(errno, "fork", "a busy loop");
    }
    loops.pids_.push_back(pid);
  }
  return loops;
}

BusyLoops::~BusyLoops() {
  for (const auto pid : pids_) {
    ::kill(pid, SIGKILL);
  }
  for (const auto pid : pids_) {
    while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
}

std::int64_t BusyLoops::cpu_ns() const {
  std::int64_t sum = 0;
  for (const auto pid : pids_) {
    clockid_t clock{};
    timespec time{};
    if (::clock_getcpuclockid(pid, &clock) == 0 && ::clock_gettime(clock, &time) == 0) {
      sum += time.tv_sec * 1'000'000'000LL + time.tv_nsec;
    }
  }
  return sum;
}

bool BusyLoops::alive() const {
  return std::all_of(pids_.begin(), pids_.end(), [](pid_t pid) {
    siginfo_t info{};
    // Looks without reaping: the number stays ours.
    return ::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
           info.si_pid == 0;
  });
}

}  // namespace godwit::lab
