#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "godwit/base/clock.h"
#include "godwit/base/fd.h"
#include "godwit/base/result.h"

#include "demo/network_namespace.h"

namespace godwit::app {

/// A child process that runs this same program. It dies with its parent, and a Ctrl-C at the
/// terminal reaches only the parent, which decides what becomes of its children. Ownership: the
/// process is ended and reaped on destruction.
class DemoChild {
 public:
  /// Starts /proc/self/exe with `arguments`. Its stdout is read by first_line(); its stderr is
  /// ours.
  /// `where`: the network namespace that it lives in. Errors: kIo, kPermission.
  static Result<DemoChild> start(const std::vector<std::string>& arguments,
                                 const NetworkNamespace& where);
  DemoChild(DemoChild&& other) noexcept;
  DemoChild& operator=(DemoChild&&) = delete;
  DemoChild(const DemoChild&) = delete;
  DemoChild& operator=(const DemoChild&) = delete;
  ~DemoChild();

  /// The first line of its stdout. Errors: kClosed when it ended before (see exit_code());
  /// kCancelled when `interrupt_fd` became readable; kTimeout.
  Result<std::string> first_line(int interrupt_fd, Deadline deadline);
  /// Sends SIGTERM: it ends in order, whatever it holds.
  void terminate() const;
  /// Waits until it has ended, and kills it when `deadline` passes. Returns its exit code; 128 +
  /// signal when killed.
  int wait(Deadline deadline);

 private:
  DemoChild(pid_t pid, Fd pidfd, Fd output)
      : pid_(pid), pidfd_(std::move(pidfd)), output_(std::move(output)) {}
  pid_t pid_ = -1;
  Fd pidfd_;
  Fd output_;
};

}  // namespace godwit::app
