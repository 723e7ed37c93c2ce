#pragma once

#include "godwit/vmm/guest.h"

#include "control/requests.h"
#include "report/report.h"

namespace godwit::app {

/// Completes the source's report by what the side that runs the guest now says: gap, stall, clock,
/// faults, memory.
void add_target(Report& report, const ReportAnswer& source, const TelemetryAnswer& target);

/// Enters what a sweep found, and names a damaged page or register as the report's error.
void add_sweep(Report& report, const SweepAnswer& answer);

}  // namespace godwit::app
