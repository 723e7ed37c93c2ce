#pragma once

#include <string>
#include <vector>

#include "godwit/base/clock.h"
#include "godwit/base/result.h"

#include "ground/process.h"

namespace godwit::lab {

struct ChildResult {
  int exit_code = -1;  ///< 128 + signal when a signal ended it
  std::string out;
  std::string errors;        ///< its stderr
  bool interrupted = false;  ///< the interrupt descriptor became readable while it ran
  bool timed_out = false;    ///< it was ended because `deadline` had passed
};

/// Runs a program to its end. When `interrupt_fd` becomes readable or `deadline` passes it gets a
/// SIGINT, so that it can end its own children, and SIGKILL if that does not help.
/// Guarantees: the process has ended when this returns; it is told to end when this process dies.
/// Errors: kIo when it could not be started.
Result<ChildResult> run_child(const std::vector<std::string>& words,
                              int interrupt_fd,
                              Deadline deadline);
/// The same for a program that is not started like any other; its outputs are taken here.
Result<ChildResult> run_child(ProcessSpec spec, int interrupt_fd, Deadline deadline);

}  // namespace godwit::lab
