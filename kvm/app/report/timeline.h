#pragma once

#include "godwit/engine/report.h"
#include "godwit/json/json.h"
#include "godwit/vmm/guest.h"

namespace godwit::app {

/// How far before a migration its timeline begins.
inline constexpr std::int64_t kTimelineLeadNs = 200'000'000;
/// How long a demo lets the guest run at the target: a second of whole intervals after the end.
inline constexpr int kTimelineTailMs = 1100;

/// What the source has seen, and when the migration did what: from kTimelineLeadNs before it until
/// the guest moved, or until now where it did not.
Json source_timeline(const vmm::Guest& guest, const engine::MigrationReport& report);
/// What this process has seen from interval `first` until now.
Json timeline_since(const vmm::Guest& guest, std::int64_t first);

/// Adds timeline, phases, recovery_ns and valley to a report, as far as `source`, made by
/// source_timeline(), tells them.
void add_timeline(Json& report, const Json& source);
/// The same with what the target has seen besides: an answer of timeline_since() in another process
/// of this host, for the first interval of `source`.
void add_timeline(Json& report, const Json& source, const Json& target);

}  // namespace godwit::app
