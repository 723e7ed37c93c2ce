#pragma once

#include "godwit/engine/report.h"
#include "godwit/vmm/guest.h"

#include "control/requests.h"
#include "report/report.h"

namespace godwit::app {

/// How far before a migration its timeline begins.
inline constexpr std::int64_t kTimelineLeadNs = 200'000'000;

/// From kTimelineLeadNs before the migration until the guest moved, or until now where it did not.
SourceTimeline source_timeline(const vmm::Guest& guest, const engine::MigrationReport& report);
/// What this process has seen from interval `first` until now.
vmm::Throughput timeline_since(const vmm::Guest& guest, std::int64_t first);

/// Adds timeline, phases, recovery and valley to a report, as far as the source tells them.
void add_timeline(Report& report, const SourceTimeline& source);
/// The same with what the target has seen besides: timeline_since() in another process of this host,
/// for the first interval of the source's.
void add_timeline(Report& report, const SourceTimeline& source, const vmm::Throughput& target);

}  // namespace godwit::app
