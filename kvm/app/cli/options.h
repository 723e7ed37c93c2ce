#pragma once

#include "cli/command_line.h"
#include "cli/option_table.h"

namespace godwit::app {

// All options of the command, in the order in which the help shows them.

/// What `run` and `demo` say of the guest.
OptionTable<GuestSettings> guest_options();
/// What `migrate` and `demo` say of the migration.
OptionTable<MigrationSettings> migration_options();
/// All of MigrationSettings: what a request carries to the process that migrates.
OptionTable<MigrationSettings> request_options();

OptionTable<RunLine> run_options();
OptionTable<ReceiveLine> receive_options();
OptionTable<MigrateLine> migrate_options();
OptionTable<RecoverLine> recover_options();
OptionTable<ClientLine> client_options();
OptionTable<ClientLine> report_options();
OptionTable<ClientLine> resume_options();
OptionTable<ClientLine> switch_options();
OptionTable<DemoLine> demo_options();

}  // namespace godwit::app
