#include "report/timeline.h"

#include <algorithm>

#include "godwit/base/clock.h"

namespace godwit::app {
namespace {

using vmm::Throughput;

/// As many as a guest keeps: a timeline that claims more is cut.
constexpr std::int64_t kIntervalsMax = 65'536;

Json throughput_json(const Throughput& throughput) {
  Json json;
  json["first"] = throughput.first;
  json["touches"] = throughput.touches;
  return json;
}

Throughput throughput_of(const Json& json) {
  Throughput out;
  out.first = number_of(json, "first");
  const auto found = json.find("touches");
  if (found != json.end() && found->is_array()) {
    for (const auto& count : *found) {
      out.touches.push_back(count.is_number_unsigned() ? count.get<std::uint64_t>() : 0);
    }
  }
  return out;
}

vmm::MigrationSpan span_of(const Json& json) {
  return {.began_ns = number_of(json, "began_ns"),
          .blackout_end_ns = number_of(json, "blackout_end_ns"),
          .ended_ns = number_of(json, "ended_ns")};
}

/// The report's times laid end to end. Populating the target's memory comes first and is no part of
/// the total.
Json phases_json(const Json& report) {
  auto phases = Json::array();
  auto at = number_of(report, "prealloc_ns") + number_of(report, "setup_ns");
  const auto add = [&](const char* name, const char* member) {
    const auto lasts = number_of(report, member);
    if (lasts > 0) {
      Json phase;
      phase["name"] = name;
      phase["start_ns"] = at;
      phase["end_ns"] = at + lasts;
      phases.push_back(std::move(phase));
      at += lasts;
    }
  };
  add("precopy", "precopy_ns");
  add("blackout", "downtime_ns");
  add("postcopy", "postcopy_ns");
  return phases;
}

void write(Json& report, const Throughput& seen, const vmm::MigrationSpan& span) {
  Json timeline;
  timeline["interval_ns"] = Throughput::kIntervalNs;
  timeline["start_ns"] = seen.first * Throughput::kIntervalNs - span.began_ns;
  timeline["touches"] = seen.touches;
  report["timeline"] = std::move(timeline);
  report["phases"] = phases_json(report);
  const auto figures = vmm::figures_of(seen, span);
  report["recovery_ns"] = figures.recovery_ns ? Json(*figures.recovery_ns) : Json();
  report["valley"] = figures.valley ? Json(*figures.valley) : Json();
}

}  // namespace

Json source_timeline(const vmm::Guest& guest, const engine::MigrationReport& report) {
  const auto first = Throughput::number_of(report.trace.began_ns - kTimelineLeadNs);
  const auto stop_ns = report.stopped.last_ns;
  const bool moved = report.outcome == engine::Outcome::kCompleted;
  const auto end = moved ? Throughput::number_of(stop_ns) + 1  // what follows is the target's
                         : Throughput::number_of(monotonic_ns());
  auto json = throughput_json(guest.throughput(first, end));
  json["began_ns"] = report.trace.began_ns;
  json["blackout_end_ns"] = moved ? stop_ns + report.downtime_ns : 0;
  json["ended_ns"] = report.trace.began_ns + report.target.prealloc_ns + report.total_ns;
  return json;
}

Json timeline_since(const vmm::Guest& guest, std::int64_t first) {
  return throughput_json(guest.throughput(first, Throughput::number_of(monotonic_ns())));
}

void add_timeline(Json& report, const Json& source) {
  const auto span = span_of(source);
  write(report, throughput_of(source), span);
  if (span.blackout_end_ns != 0) {
    report["valley"] = nullptr;  // of the interval in which the guest stopped the target has a part
  }
}

void add_timeline(Json& report, const Json& source, const Json& target) {
  const auto before = throughput_of(source);
  const auto after = throughput_of(target);
  Throughput all;
  all.first = before.first;
  const auto end = std::max(before.end(), after.end());
  all.touches.resize(static_cast<std::size_t>(std::min(end - all.first, kIntervalsMax)));
  all.add(before);
  all.add(after);
  write(report, all, span_of(source));
}

}  // namespace godwit::app
