#include "target/figures.h"

#include "godwit/base/clock.h"
#include "godwit/base/thread.h"

namespace godwit::engine {

TargetFigures figures_of(const TargetPlane& plane,
                         const Histogram& faults,
                         const TargetTrace& trace) {
  TargetFigures figures;
  figures.faults = faults;
  figures.installed = plane.installed_after_switch();
  figures.scheduling_degraded = scheduling_degraded();
  figures.retracted = plane.retracted();
  figures.retracted_at_switch = plane.retracted_at_switch();
  figures.cpu_ns = process_cpu_ns();
  figures.first_run_ns = trace.first_run_ns;
  figures.run_ended_ns = trace.run_ended_ns;
  figures.boot_id = boot_id();
  return figures;
}

}  // namespace godwit::engine
