#include "report/report.h"

#include <algorithm>

#include <fmt/format.h>

#include "godwit/base/thread.h"
#include "godwit/vmm/damage.h"
#include "godwit/wire/format.h"

#include "cli/advice.h"
#include "cli/command_line.h"
#include "cli/exit_code.h"
#include "cli/output.h"

namespace godwit::app {
namespace {

void add_guest(Report& report, const ReportInput& input) {
  const auto& config = input.config;
  report.seed = config.seed;
  auto& guest = report.guest;
  guest.kind = vmm::kind_name(config.kind);
  guest.memory_bytes = config.memory_bytes;
  guest.populated_bytes = config.populated_bytes;
  guest.working_set_bytes = config.working_set_bytes;
  guest.vcpus = config.vcpus;
  guest.workload = vmm::workload_name(config.workload);
  for (const auto& vcpu : input.telemetry.vcpus) {
    guest.steps += vcpu.steps;
    report.largest_stall_ns = std::max(report.largest_stall_ns, vcpu.largest_step_ns);
  }
  report.guest_faults = summarize(input.telemetry.slow_touches);
  report.verified.guest_errors = input.telemetry.guest_errors;
}

void add_times(Report& report, const engine::MigrationReport& migration) {
  report.total_ns = migration.total_ns;
  report.setup_ns = migration.setup_ns;
  report.precopy_ns = migration.precopy_ns;
  report.downtime_ns = migration.downtime_ns;
  report.postcopy_ns = migration.postcopy_ns;
  report.prealloc_ns = migration.target.prealloc_ns;
  report.downtime_parts = migration.parts;
  report.downtime_limit_met = migration.downtime_limit_met;
}

void add_traffic(Report& report, const engine::MigrationReport& migration) {
  report.bytes = {.wire = migration.wire_bytes,
                  .page_payload = migration.payload_bytes,
                  .urgent = migration.urgent_bytes,
                  .control = migration.control_bytes};
  report.pages = {.total = migration.pages_total,
                  .populated = migration.pages_populated,
                  .zero = migration.pages_zero,
                  .sent = migration.pages_sent,
                  .resent = migration.pages_resent,
                  .demand = migration.pages_demand,
                  .background = migration.pages_background,
                  .overtaken = migration.pages_overtaken,
                  .sent_twice_after_switch = migration.pages_sent_twice,
                  .prefetched = migration.pages_prefetched,
                  .retracted = migration.target.retracted,
                  .retracted_at_switch = migration.target.retracted_at_switch};
  report.faults = summarize(migration.target.faults);
  report.rounds = migration.rounds;
  report.ended_precopy = migration.ended_precopy;
  report.recovery = migration.recovery;
}

void add_planted(Report& report, const ReportInput& input) {
  if (input.settings.planted.fault == PlantedKind::kNone) {
    return;
  }
  auto& planted = report.planted.emplace();
  planted.kind = kPlantedFaultNames.name_of(input.settings.planted.fault);
  if (input.migration.planted_page) {
    planted.page = vmm::global_page(input.config, *input.migration.planted_page);
  }
}

/// What a host that forbids nice -20 means for the figures.
std::string scheduling_warning(const char* side) {
  return fmt::format(
      "{}: threads that a guest waits for run without their priority (nice -20, or real time above "
      "the process's own, is not permitted: CAP_SYS_NICE); stalls may be longer",
      side);
}

void add_placement(Report& report, const ReportInput& input) {
  const auto& migration = input.migration;
  report.transport = migration.transport;
  report.dirty_source = migration.dirty_source;
  report.placement = migration.target.placement;
  report.backing = vmm::backing_name(input.config.backing);
  report.channels = migration.channels;
  report.congestion =
      migration.congestion.empty() ? input.settings.congestion : migration.congestion;
  report.cpu_ns = {.source = input.cpu_ns, .target = migration.target.cpu_ns};
  report.scheduling = {
      .priority = engine::kCpuPriorityNames.name_of(input.settings.source.cpu_priority),
      .raised = migration.cpu_raised,
      .waited_ns = migration.cpu_waited_ns};
  report.overhead_bytes.source = input.memory.overhead;
  report.page_table_bytes.source = input.memory.page_tables;
}

}  // namespace

LatencySummary summarize(const Histogram& histogram) {
  LatencySummary summary{.count = histogram.count(),
                         .p50_ns = histogram.quantile(0.5),
                         .p99_ns = histogram.quantile(0.99),
                         .p999_ns = histogram.quantile(0.999),
                         .max_ns = histogram.max(),
                         .buckets = {}};
  for (const auto& [bucket, count] : histogram.buckets()) {
    summary.buckets.emplace_back(histogram.upper_ns(bucket), count);
  }
  return summary;
}

Report source_report(const ReportInput& input) {
  const auto& migration = input.migration;
  Report report;
  report.outcome = migration.outcome;
  report.error = migration.error;
  if (report.error) {
    report.error->error = advised(report.error->error);
  }
  report.mode = engine::mode_name(input.settings.source.mode);
  report.godwit_version = kGodwitVersion;
  report.protocol_version = wire::kProtocolVersion;
  add_guest(report, input);
  add_times(report, migration);
  add_traffic(report, migration);
  report.floors = input.floors;
  add_planted(report, input);
  if (scheduling_degraded()) {
    report.warnings.push_back(scheduling_warning("source"));
  }
  if (migration.target.scheduling_degraded) {
    report.warnings.push_back(scheduling_warning("target"));
  }
  add_placement(report, input);
  return report;
}

Report failure_report(const vmm::GuestConfig& config,
                      const MigrationSettings& settings,
                      const Error& error,
                      const std::string& phase) {
  ReportInput input;
  input.config = config;
  input.settings = settings;
  input.migration.outcome =
      error.code == ErrorCode::kCancelled ? engine::Outcome::kCancelled : engine::Outcome::kFailed;
  input.migration.error = engine::EndError{error, "source", phase};
  auto report = source_report(input);
  if (settings.timeline) {
    report.course.emplace();  // nobody is left to tell it
  }
  return report;
}

int exit_code_of(const Report& report) {
  if (report.outcome == engine::Outcome::kInDoubt) {
    return kExitHeld;
  }
  if (report.verified.mismatches != 0 || report.verified.guest_errors != 0) {
    return kExitDamaged;
  }
  return report.outcome == engine::Outcome::kCompleted ? kExitOk : kExitFailed;
}

void complain_of_warnings(const Report& report) {
  for (const auto& warning : report.warnings) {
    complain("warning: " + warning);
  }
}

}  // namespace godwit::app
