#pragma once

#include "cli/command_line.h"
#include "cli/signals.h"

namespace godwit::app {

// One function a command. Each returns the process's exit code.
int run_command(const RunLine& line, const Signals& signals);
int receive_command(const ReceiveLine& line, const Signals& signals);
int migrate_command(const MigrateLine& line, const Signals& signals);
int recover_command(const RecoverLine& line, const Signals& signals);
int client_command(const ClientLine& line, const Signals& signals);
int demo_command(const DemoLine& line, const Signals& signals);

}  // namespace godwit::app
