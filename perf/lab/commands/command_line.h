#pragma once

#include <variant>

#include <tl/expected.hpp>

#include "commands/commands.h"

namespace godwit::lab {

/// What godwit-lab was asked to do.
struct CommandLine {
  Common common;
  std::variant<ListLine, RunLine, CompareLine, ReportLine> command;
};

/// Reads a command line; `defaults` holds for what it does not say. Without a command there is an
/// exit code: the help was asked for and is on stdout, or stderr says what is wrong.
tl::expected<CommandLine, int> parse_command_line(int argc,
                                                  const char* const* argv,
                                                  const Common& defaults);

}  // namespace godwit::lab
