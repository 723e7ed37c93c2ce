#pragma once

#include "godwit/engine/report.h"
#include "godwit/wire/codec.h"

namespace godwit::engine {

/// The target's figures as COMPLETE carries them.
wire::Complete to_wire(const TargetFigures& figures);
/// Takes what COMPLETE carries into `figures`; placement and prealloc_ns came with ACCEPT and stay.
/// Guarantees: sums of a few times, and of all counts of faults, stay in range, whatever the peer
/// says.
void take_figures(const wire::Complete& message, TargetFigures& figures);

}  // namespace godwit::engine
