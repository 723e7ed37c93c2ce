#pragma once

#include "godwit/base/error.h"

namespace godwit::app {

/// What the process tells its caller.
enum ExitCode : int {
  kExitOk = 0,      ///< completed and verified
  kExitFailed = 1,  ///< failed or cancelled: the guest runs at the source
  kExitUsage = 2,
  kExitEnvironment = 3,  ///< KVM, userfaultfd, io_uring, memory, port
  kExitDamaged = 4,      ///< verification failed
  kExitHeld = 5,         ///< in doubt or held: no side gave up
  kExitInterrupted = 130,
};

/// The exit code of a command that could not start its work because of `error`.
inline int setup_exit_code(const Error& error) {
  return error.code == ErrorCode::kInvalidArgument ? kExitUsage : kExitEnvironment;
}

}  // namespace godwit::app
