#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cli/option_table.h"

namespace godwit::app {

/// A command with its options.
struct CommandSyntax {
  std::string name;
  std::string help;
  std::vector<OptionHead> options;
};

/// A command line cut into a command and the texts of its options.
struct SplitLine {
  /// Which of the commands; none: `message` is to be printed (help, version, usage errors).
  std::optional<std::size_t> command;
  std::vector<std::optional<std::string>> texts;  ///< of its options, in their order
  std::string message;
  int exit_code = 0;
};

/// Only cuts: what a text means is for others to say. `version` is what --version says.
SplitLine split_command_line(int argc,
                             const char* const* argv,
                             const char* version,
                             std::span<const CommandSyntax> commands);

}  // namespace godwit::app
