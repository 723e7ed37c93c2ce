#include "report/timeline.h"

#include <algorithm>

#include "godwit/base/clock.h"

namespace godwit::app {
namespace {

using vmm::Throughput;

/// As many as a guest keeps: a timeline that claims more is cut.
constexpr std::int64_t kIntervalsMax = 65'536;

/// The report's times laid end to end. Populating the target's memory comes first and is no part of
/// the total.
std::vector<ReportPhase> phases_of(const Report& report) {
  std::vector<ReportPhase> phases;
  auto at = report.prealloc_ns + report.setup_ns;
  const auto add = [&](const char* name, std::int64_t lasts_ns) {
    if (lasts_ns > 0) {
      phases.push_back({name, at, at + lasts_ns});
      at += lasts_ns;
    }
  };
  add("precopy", report.precopy_ns);
  add("blackout", report.downtime_ns);
  add("postcopy", report.postcopy_ns);
  return phases;
}

void fill(Report& report, const Throughput& seen, const vmm::MigrationSpan& span) {
  const auto figures = vmm::figures_of(seen, span);
  report.course = {
      .timeline = ReportTimeline{.interval_ns = Throughput::kIntervalNs,
                                 .start_ns = seen.first * Throughput::kIntervalNs - span.began_ns,
                                 .touches = seen.touches},
      .phases = phases_of(report),
      .recovery_ns = figures.recovery_ns,
      .valley = figures.valley};
}

}  // namespace

SourceTimeline source_timeline(const vmm::Guest& guest, const engine::MigrationReport& report) {
  const auto first = Throughput::number_of(report.trace.began_ns - kTimelineLeadNs);
  const auto stop_ns = report.stopped.last_ns;
  const bool moved = report.outcome == engine::Outcome::kCompleted;
  const auto end = moved ? Throughput::number_of(stop_ns) + 1  // what follows is the target's
                         : Throughput::number_of(monotonic_ns());
  return {
      .seen = guest.throughput(first, end),
      .span = {.began_ns = report.trace.began_ns,
               .blackout_end_ns = moved ? stop_ns + report.downtime_ns : 0,
               .ended_ns = report.trace.began_ns + report.target.prealloc_ns + report.total_ns}};
}

Throughput timeline_since(const vmm::Guest& guest, std::int64_t first) {
  return guest.throughput(first, Throughput::number_of(monotonic_ns()));
}

void add_timeline(Report& report, const SourceTimeline& source) {
  fill(report, source.seen, source.span);
  if (source.span.blackout_end_ns != 0) {
    // Of the interval in which the guest stopped the target has a part.
    report.course->valley.reset();
  }
}

void add_timeline(Report& report, const SourceTimeline& source, const Throughput& target) {
  Throughput all;
  all.first = source.seen.first;
  const auto end = std::max(source.seen.end(), target.end());
  all.touches.resize(static_cast<std::size_t>(std::min(end - all.first, kIntervalsMax)));
  all.add(source.seen);
  all.add(target);
  fill(report, all, source.span);
}

}  // namespace godwit::app
