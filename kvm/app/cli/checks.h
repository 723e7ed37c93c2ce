#pragma once

#include "cli/command_line.h"

namespace godwit::app {

// What may not go together, and what depends on each other, once every option has been read.
// Errors: kInvalidArgument, which names the option.

/// Puts the sizes into the configuration, with the defaults of those that were not given.
Status finish_guest(GuestSettings& guest);
/// A fault that this guest and mode cannot show is a mistake of the caller, not a result.
Status check_planted(const MigrationSettings& migration, const vmm::GuestConfig& config);
/// Each network namespace has a loopback of its own.
Status check_namespaces(const DemoLine& line);

// All of a command's.
Status finish(RunLine& line);
Status finish(ReceiveLine& line);
Status finish(MigrateLine& line);
Status finish(RecoverLine& line);
Status finish(ClientLine& line);
Status finish(DemoLine& line);

}  // namespace godwit::app
