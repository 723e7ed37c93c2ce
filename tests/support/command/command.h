#pragma once

#include <string>

#include "support/process.h"
#include "support/require.h"

namespace godwit::test {

// One run each of what is under test. On slow machines GODWIT_COMMAND_SECONDS gives the command
// more time, and GODWIT_COMMAND_OPTIONS longer deadlines of its own.

/// Runs `godwit ARGUMENTS` to its end.
Outcome run(const std::string& arguments, const Prepare& prepare = {});
/// Runs `godwit-lab ARGUMENTS` to its end.
Outcome run_lab(const std::string& arguments, const Prepare& prepare = {});
/// Runs a line of sh to its end.
Outcome run_shell(const std::string& line);

/// Whether there is such a program on the PATH.
bool has_program(const std::string& name);

/// One question to a control socket, as the command's own clients ask it. Null without an answer.
Json ask(const std::string& control, const Json& request);
Json ask(const std::string& control, const char* command);

}  // namespace godwit::test

/// Leaves a test for which a program is missing, and names the package that has it.
#define GODWIT_NEED_PROGRAM(name, package)                                      \
  do {                                                                          \
    if (!::godwit::test::has_program(name)) {                                   \
      GODWIT_MISSING(name, name " is not installed: apt-get install " package); \
    }                                                                           \
  } while (false)
