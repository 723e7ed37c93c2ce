#pragma once

#include "godwit/json/json.h"

namespace godwit::app {

/// Completes the source's report by what the side that runs the guest now says: gap, stall, clock,
/// faults, memory. `source` is the source's telemetry; `target` the target's answer to "telemetry".
void merge_target(Json& report, const Json& source, const Json& target);

/// Enters what a sweep found; `telemetry` is the swept guest's. Names a damaged page or register in
/// `error`.
void merge_sweep(Json& report, const Json& answer);

}  // namespace godwit::app
