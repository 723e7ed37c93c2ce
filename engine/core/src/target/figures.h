#pragma once

#include "godwit/base/histogram.h"
#include "godwit/engine/report.h"
#include "godwit/engine/trace.h"

#include "target/plane.h"

namespace godwit::engine {

/// What the target tells the source when every page is present. `faults`: of all threads.
/// Requires: the threads of the page channels have ended.
TargetFigures figures_of(const TargetPlane& plane,
                         const Histogram& faults,
                         const TargetTrace& trace);

}  // namespace godwit::engine
