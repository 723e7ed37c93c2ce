#pragma once

#include <cstdio>
#include <string_view>

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
int setup_exit_code(const Error& error);

/// Writes `text` and flushes. What cannot be written is dropped: a reader that went away is no
/// reason to leave a guest alone. finish_output() tells of it where the text was the result.
void print_to(std::FILE* stream, std::string_view text);

/// Prints "godwit: TEXT" to stderr, in one write.
void complain(std::string_view text);

/// The exit code of a command that has printed its result: `code`, unless it would claim success
/// for a result that stdout did not take.
int finish_output(int code);

}  // namespace godwit::app
