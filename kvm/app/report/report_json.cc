#include "report/report_json.h"

#include <cstdio>
#include <string>

#include "godwit/json/members.h"

#include "cli/output.h"
#include "report/report_text.h"

namespace godwit::app {
namespace {

using app::visit;  // those of control/requests.h, beside the ones here

template <typename Members>
void visit(Members& in, LatencySummary& summary) {
  in.value("count", summary.count);
  in.value("p50_ns", summary.p50_ns);
  in.value("p99_ns", summary.p99_ns);
  in.value("p999_ns", summary.p999_ns);
  in.value("max_ns", summary.max_ns);
  in.pairs("buckets", summary.buckets);
}

template <typename Members>
void visit(Members& in, engine::RoundReport& round) {
  in.value("pages", round.pages);
  in.value("bytes", round.bytes);
  in.value("ns", round.ns);
  in.value("dirtied_pages", round.dirtied_pages);
}

template <typename Members>
void visit(Members& in, Floors& floors) {
  auto memcpy_bytes_per_s = static_cast<std::uint64_t>(floors.memcpy_bytes_per_s);
  auto stream_bytes_per_s = static_cast<std::uint64_t>(floors.stream_bytes_per_s);
  in.value("memcpy_bytes_per_s", memcpy_bytes_per_s);
  in.value("stream_bytes_per_s", stream_bytes_per_s);
  in.value("roundtrip_4k_ns", floors.roundtrip_4k_ns);
  in.value("uffd_wake_ns", floors.uffd_wake_ns);
  in.value("fresh_page_ns", floors.fresh_page_ns);
  in.value("stall_ns", floors.stall_ns);
  if constexpr (Members::kReads) {
    floors.memcpy_bytes_per_s = static_cast<double>(memcpy_bytes_per_s);
    floors.stream_bytes_per_s = static_cast<double>(stream_bytes_per_s);
  }
}

template <typename Members>
void visit(Members& in, ReportPlanted& planted) {
  in.value("kind", planted.kind);
  in.nullable("page", planted.page);
}

template <typename Members, typename Sides>
void visit_sides(Members& in, const char* name, Sides& sides) {
  in.object(name, [&](auto& inside) {
    inside.value("source", sides.source);
    inside.value("target", sides.target);
  });
}

template <typename Members>
void visit(Members& in, ReportTimeline& timeline) {
  in.value("interval_ns", timeline.interval_ns);
  in.value("start_ns", timeline.start_ns);
  in.values("touches", timeline.touches);
}

template <typename Members>
void visit(Members& in, ReportPhase& phase) {
  in.value("name", phase.name);
  in.value("start_ns", phase.start_ns);
  in.value("end_ns", phase.end_ns);
}

/// Any of those above.
constexpr auto kEach = [](auto& in, auto& part) { visit(in, part); };

template <typename Members>
void visit(Members& in, ReportCourse& course) {
  in.nullable("timeline", course.timeline, kEach);
  in.list("phases", course.phases, kEach);
  in.nullable("recovery_ns", course.recovery_ns);
  in.nullable("valley", course.valley);
}

template <typename Members>
void visit(Members& in, ReportHeld& held) {
  const auto status_with_type = [](auto& inside, StatusAnswer& status) {
    std::string type = "reply";  // as status_json() writes it
    inside.value("type", type);
    visit(inside, status);
  };
  in.optional("source", held.source, status_with_type);
  in.optional("target", held.target, status_with_type);
}

template <typename Members>
void visit_times(Members& in, Report& report) {
  in.value("total_ns", report.total_ns);
  in.value("setup_ns", report.setup_ns);
  in.value("precopy_ns", report.precopy_ns);
  in.value("downtime_ns", report.downtime_ns);
  in.value("postcopy_ns", report.postcopy_ns);
  in.value("prealloc_ns", report.prealloc_ns);
  in.object("downtime_parts_ns", [&](auto& parts) {
    parts.value("quiesce", report.downtime_parts.quiesce);
    parts.value("final_sync", report.downtime_parts.final_sync);
    parts.value("state_save", report.downtime_parts.state_save);
    parts.value("state_transfer", report.downtime_parts.state_transfer);
    parts.value("state_load", report.downtime_parts.state_load);
    parts.value("resume", report.downtime_parts.resume);
  });
  in.value("downtime_limit_met", report.downtime_limit_met);
  in.value("guest_gap_ns", report.guest_gap_ns);
  in.value("largest_stall_ns", report.largest_stall_ns);
  in.value("clock_error_ns", report.clock_error_ns);
}

template <typename Members>
void visit_traffic(Members& in, Report& report) {
  in.object("bytes", [&](auto& bytes) {
    bytes.value("wire", report.bytes.wire);
    bytes.value("page_payload", report.bytes.page_payload);
    bytes.value("urgent", report.bytes.urgent);
    bytes.value("control", report.bytes.control);
  });
  in.object("pages", [&](auto& pages) {
    pages.value("total", report.pages.total);
    pages.value("populated", report.pages.populated);
    pages.value("zero", report.pages.zero);
    pages.value("sent", report.pages.sent);
    pages.value("resent", report.pages.resent);
    pages.value("demand", report.pages.demand);
    pages.value("background", report.pages.background);
    pages.value("overtaken", report.pages.overtaken);
    pages.value("sent_twice_after_switch", report.pages.sent_twice_after_switch);
    pages.value("prefetched", report.pages.prefetched);
    pages.value("retracted", report.pages.retracted);
    pages.value("retracted_at_switch", report.pages.retracted_at_switch);
  });
  in.object("faults", [&](auto& inside) { visit(inside, report.faults); });
  in.object("guest_faults", [&](auto& inside) { visit(inside, report.guest_faults); });
  in.list("rounds", report.rounds, kEach);
  in.object("switch", [&](auto& ended) {
    ended.named("reason", report.ended_precopy.reason, engine::kSwitchReasonNames);
    ended.value("expected_blackout_ns", report.ended_precopy.blackout_ns);
    ended.value("moved_pages_per_s", report.ended_precopy.moved_pages_per_s);
    ended.value("dirtied_pages_per_s", report.ended_precopy.dirtied_pages_per_s);
  });
  in.object("recovery", [&](auto& recovery) {
    recovery.value("count", report.recovery.count);
    recovery.value("resent_pages", report.recovery.resent_pages);
    recovery.value("paused_ns", report.recovery.paused_ns);
  });
}

template <typename Members>
void visit(Members& in, Report& report) {
  std::string schema = kReportSchema;
  in.value("schema", schema);
  in.named("outcome", report.outcome, kOutcomeNames);
  in.nullable("error", report.error, kEach);
  in.value("mode", report.mode);
  in.object("versions", [&](auto& versions) {
    versions.value("godwit", report.godwit_version);
    versions.value("protocol", report.protocol_version);
  });
  in.value("seed", report.seed);
  in.object("guest", [&](auto& guest) {
    guest.value("kind", report.guest.kind);
    guest.value("memory_bytes", report.guest.memory_bytes);
    guest.value("populated_bytes", report.guest.populated_bytes);
    guest.value("working_set_bytes", report.guest.working_set_bytes);
    guest.value("vcpus", report.guest.vcpus);
    guest.value("workload", report.guest.workload);
    guest.value("steps", report.guest.steps);
  });
  visit_times(in, report);
  visit_traffic(in, report);
  in.nullable("floors", report.floors, kEach);
  in.object("verified", [&](auto& verified) {
    verified.value("pages_expected", report.verified.pages_expected);
    verified.value("pages_checked", report.verified.pages_checked);
    verified.value("mismatches", report.verified.mismatches);
    verified.value("guest_errors", report.verified.guest_errors);
  });
  in.nullable("injected", report.planted, kEach);
  in.texts("warnings", report.warnings);
  in.value("transport", report.transport);
  in.value("dirty_source", report.dirty_source);
  in.value("placement", report.placement);
  in.value("backing", report.backing);
  in.value("channels", report.channels);
  in.value("congestion", report.congestion);
  visit_sides(in, "cpu_ns", report.cpu_ns);
  in.object("scheduling", [&](auto& scheduling) {
    scheduling.value("priority", report.scheduling.priority);
    scheduling.value("raised", report.scheduling.raised);
    scheduling.value("waited_ns", report.scheduling.waited_ns);
  });
  visit_sides(in, "overhead_bytes", report.overhead_bytes);
  visit_sides(in, "page_table_bytes", report.page_table_bytes);
}

}  // namespace

Json report_json(Report report) {
  MemberWriter in;
  visit(in, report);
  if (report.course) {
    visit(in, *report.course);
  }
  in.optional("held", report.held, [](auto& inside, auto& held) { visit(inside, held); });
  return in.take();
}

Report report_of(const Json& json) {
  Report report;
  MemberReader in(json);
  visit(in, report);
  if (json.contains("timeline")) {
    visit(in, report.course.emplace());
  }
  in.optional("held", report.held, [](auto& inside, auto& held) { visit(inside, held); });
  return report;
}

void print_report(const Report& report, bool json) {
  print_to(stdout, json ? json_text(report_json(report), 2) + "\n" : report_text(report));
}

}  // namespace godwit::app
