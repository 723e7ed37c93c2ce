#pragma once

#include <sys/wait.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include <fmt/format.h>

#include "support/json_view.h"

#ifndef GODWIT_COMMAND
#error "GODWIT_COMMAND is the path of the godwit command under test"
#endif

namespace godwit::test {

/// What a run of the command gave.
struct Ran {
  int code = -1;
  std::string out;
  Json report;  ///< null when stdout held no JSON object
};

/// Runs `godwit ARGUMENTS` to its end; stderr goes to stdout's place only with `with_errors`.
inline Ran run_command(const std::string& arguments, bool with_errors = false) {
  // Slow machines give the command more time, and longer deadlines of its own.
  const auto setting = [](const char* name, const char* usual) {
    const char* value = std::getenv(name);
    return value != nullptr ? value : usual;
  };
  const auto line = fmt::format("timeout {} {} {} {} {}",
                                setting("GODWIT_COMMAND_SECONDS", "120"),
                                GODWIT_COMMAND,
                                arguments,
                                setting("GODWIT_COMMAND_OPTIONS", ""),
                                with_errors ? "2>&1" : "2>/dev/null");
  Ran ran;
  FILE* pipe = ::popen(line.c_str(), "r");
  if (pipe == nullptr) {
    return ran;
  }
  char buffer[4096];
  while (const auto got = std::fread(buffer, 1, sizeof buffer, pipe)) {
    ran.out.append(buffer, got);
  }
  const int status = ::pclose(pipe);
  ran.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  ran.report = parse_json(ran.out);
  if (ran.report.is_discarded()) {
    ran.report = nullptr;
  }
  return ran;
}

}  // namespace godwit::test
