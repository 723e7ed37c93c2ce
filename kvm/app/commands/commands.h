#pragma once

#include "cli/command_line.h"
#include "cli/signals.h"

namespace godwit::app {

// One function a command. Each returns the process's exit code.
int run_command(const CommandLine& line, const Signals& signals);
int receive_command(const CommandLine& line, const Signals& signals);
int migrate_command(const CommandLine& line, const Signals& signals);
/// status, switch, cancel, stop
int client_command(const CommandLine& line, const Signals& signals);
int demo_command(const CommandLine& line, const Signals& signals);

}  // namespace godwit::app
