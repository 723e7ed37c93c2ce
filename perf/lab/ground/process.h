#pragma once

#include <signal.h>
#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "godwit/base/clock.h"
#include "godwit/base/fd.h"
#include "godwit/base/result.h"

#include "ground/user.h"

namespace godwit::lab {

/// How a program is started. Descriptors stay the caller's.
struct ProcessSpec {
  std::vector<std::string> words;  ///< the program's path, then its arguments
  int out_fd = -1;                 ///< its stdout; -1 = this process's
  int error_fd = -1;               ///< its stderr; -1 = this process's
  int network_fd = -1;             ///< network namespace to run in; -1 = this process's
  int kept_fd = -1;                ///< a descriptor that it inherits; -1 = none
  int cgroup_fd = -1;              ///< cgroup.procs of the control group to join; -1 = none
  std::optional<User> user;        ///< who it is to be; nothing = as this process
  int death_signal = SIGTERM;      ///< what it gets when this process dies
};

/// A program that this process has started, in a process group of its own: a Ctrl-C at the terminal
/// reaches this process, which passes it on. Ownership: the process is killed and reaped on
/// destruction, unless wait() has reaped it.
class Process {
 public:
  /// Errors: kUnsupported, kPermission (no such program, or none to be run by this user), kIo.
  static Result<Process> start(const ProcessSpec& spec);
  Process(Process&& other) noexcept;
  Process& operator=(Process&&) = delete;
  ~Process();

  /// Readable when it has ended.
  [[nodiscard]] int ended_fd() const { return ended_.get(); }
  void signal(int number) const;
  /// Waits until it has ended or `deadline` passes; whether it has ended.
  [[nodiscard]] bool has_ended(Deadline deadline) const;
  /// Waits until it has ended and reaps it: its exit code, 128 + signal when a signal ended it.
  /// Requires: called once.
  int wait();
  /// CPU time of the process, threads that have ended included; 0 when it cannot be told.
  [[nodiscard]] std::int64_t cpu_ns() const;

 private:
  Process(pid_t pid, Fd ended) : pid_(pid), ended_(std::move(ended)) {}
  pid_t pid_;
  Fd ended_;
};

/// Path of `program`: itself when it has a slash, else as found on PATH; empty when there is none
/// that may be executed.
std::string find_program(const std::string& program);

/// What poll() takes for a wait until `deadline`; -1 for never.
int poll_ms(Deadline deadline);

}  // namespace godwit::lab
