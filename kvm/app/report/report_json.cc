#include "report/report_json.h"

#include <algorithm>

#include <fmt/format.h>

#include "godwit/base/thread.h"
#include "godwit/wire/format.h"

#include "cli/exit_code.h"
#include "cli/version.h"
#include "demo/injection.h"

namespace godwit::app {
namespace {

const char* outcome_name(engine::Outcome outcome) {
  switch (outcome) {
    case engine::Outcome::kCompleted:
      return "completed";
    case engine::Outcome::kCancelled:
      return "cancelled";
    case engine::Outcome::kInDoubt:
      return "in_doubt";
    case engine::Outcome::kFailed:
      return "failed";
  }
  return "failed";
}

Json guest_json(const vmm::GuestConfig& config, const vmm::GuestTelemetry& telemetry) {
  std::uint64_t steps = 0;
  for (const auto& vcpu : telemetry.vcpus) {
    steps += vcpu.steps;
  }
  Json json;
  json["kind"] = vmm::kind_name(config.kind);
  json["memory_bytes"] = config.memory_bytes;
  json["populated_bytes"] = config.populated_bytes;
  json["working_set_bytes"] = config.working_set_bytes;
  json["vcpus"] = config.vcpus;
  json["workload"] = vmm::workload_name(config.workload);
  json["steps"] = steps;
  return json;
}

void add_times(Json& json, const engine::MigrationReport& report) {
  json["total_ns"] = report.total_ns;
  json["setup_ns"] = report.setup_ns;
  json["precopy_ns"] = report.precopy_ns;
  json["downtime_ns"] = report.downtime_ns;
  json["postcopy_ns"] = report.postcopy_ns;
  json["prealloc_ns"] = report.target.prealloc_ns;
  Json parts;
  parts["quiesce"] = report.parts.quiesce;
  parts["final_sync"] = report.parts.final_sync;
  parts["state_save"] = report.parts.state_save;
  parts["state_transfer"] = report.parts.state_transfer;
  parts["state_load"] = report.parts.state_load;
  parts["resume"] = report.parts.resume;
  json["downtime_parts_ns"] = std::move(parts);
  json["downtime_limit_met"] = report.downtime_limit_met;
}

std::int64_t largest_stall(const vmm::GuestTelemetry& telemetry) {
  std::int64_t largest = 0;
  for (const auto& vcpu : telemetry.vcpus) {
    largest = std::max(largest, vcpu.largest_step_ns);
  }
  return largest;
}

Json pages_json(const engine::MigrationReport& report) {
  Json json;
  json["total"] = report.pages_total;
  json["populated"] = report.pages_populated;
  json["zero"] = report.pages_zero;
  json["sent"] = report.pages_sent;
  json["resent"] = report.pages_resent;
  json["demand"] = report.pages_demand;
  json["background"] = report.pages_background;
  json["overtaken"] = report.pages_overtaken;
  json["sent_twice_after_switch"] = report.pages_sent_twice;
  json["prefetched"] = report.pages_prefetched;
  json["retracted"] = report.target.retracted;
  json["retracted_at_switch"] = report.target.retracted_at_switch;
  return json;
}

Json rounds_json(const std::vector<engine::RoundReport>& rounds) {
  auto json = Json::array();
  for (const auto& round : rounds) {
    Json entry;
    entry["pages"] = round.pages;
    entry["bytes"] = round.bytes;
    entry["ns"] = round.ns;
    entry["dirtied_pages"] = round.dirtied_pages;
    json.push_back(std::move(entry));
  }
  return json;
}

Json floors_json(const std::optional<Floors>& floors) {
  if (!floors) {
    return nullptr;
  }
  Json json;
  json["memcpy_bytes_per_s"] = static_cast<std::uint64_t>(floors->memcpy_bytes_per_s);
  json["stream_bytes_per_s"] = static_cast<std::uint64_t>(floors->stream_bytes_per_s);
  json["roundtrip_4k_ns"] = floors->roundtrip_4k_ns;
  json["uffd_wake_ns"] = floors->uffd_wake_ns;
  json["fresh_page_ns"] = floors->fresh_page_ns;
  json["stall_ns"] = floors->stall_ns;
  return json;
}

Json injected_json(const ReportInput& input) {
  if (input.settings.planted.fault == engine::InjectedFault::kNone) {
    return nullptr;
  }
  Json json;
  json["kind"] = kPlantedFaultNames.name_of(input.settings.planted.fault);
  json["page"] = nullptr;  // for faults that hit no page
  if (input.migration.injected_page) {
    json["page"] = global_page(input.config, *input.migration.injected_page);
  }
  return json;
}

Json both(std::uint64_t source) {
  Json json;
  json["source"] = source;
  json["target"] = 0;
  return json;
}

void add_placement(Json& json, const ReportInput& input) {
  const auto& report = input.migration;
  json["transport"] = report.transport;
  json["dirty_source"] = report.dirty_source;
  json["placement"] = report.target.placement;
  json["backing"] = vmm::backing_name(input.config.backing);
  json["channels"] = report.channels;
  json["congestion"] = report.congestion.empty() ? input.settings.congestion : report.congestion;
  Json cpu;
  cpu["source"] = input.cpu_ns;
  cpu["target"] = report.target.cpu_ns;
  json["cpu_ns"] = std::move(cpu);
  json["overhead_bytes"] = both(input.memory.overhead);
  json["page_table_bytes"] = both(input.memory.page_tables);
}

/// What a host that forbids nice -20 means for the figures.
std::string scheduling_warning(const char* side) {
  return fmt::format(
      "{}: threads that a guest waits for run without their priority (nice -20 is not permitted: "
      "CAP_SYS_NICE); stalls may be longer",
      side);
}

}  // namespace

Json summarize(const Histogram& histogram) {
  Json json;
  json["count"] = histogram.count();
  json["p50_ns"] = histogram.quantile(0.5);
  json["p99_ns"] = histogram.quantile(0.99);
  json["p999_ns"] = histogram.quantile(0.999);
  json["max_ns"] = histogram.max();
  auto buckets = Json::array();
  for (const auto& [bucket, count] : histogram.buckets()) {
    buckets.push_back(Json::array({histogram.upper_ns(bucket), count}));
  }
  json["buckets"] = std::move(buckets);
  return json;
}

Json telemetry_json(const vmm::GuestTelemetry& telemetry) {
  auto vcpus = Json::array();
  for (const auto& vcpu : telemetry.vcpus) {
    Json entry;
    entry["steps"] = vcpu.steps;
    entry["last_step_ns"] = vcpu.last_step_ns;
    entry["last_counter"] = vcpu.last_counter;
    entry["first_step_ns"] = vcpu.first_step_ns;
    entry["first_counter"] = vcpu.first_counter;
    entry["first_step_faults_ns"] = vcpu.first_step_faults_ns;
    entry["first_step_here_ns"] = vcpu.first_step_here_ns;
    entry["previous_step_ns"] = vcpu.previous_step_ns;
    entry["previous_counter"] = vcpu.previous_counter;
    entry["largest_step_ns"] = vcpu.largest_step_ns;
    vcpus.push_back(std::move(entry));
  }
  Json json;
  json["vcpus"] = std::move(vcpus);
  json["counter_hz"] = telemetry.counter_hz;
  json["guest_errors"] = telemetry.guest_errors;
  json["first_error"] = telemetry.first_error;
  json["step_holes"] = telemetry.step_holes;
  json["slow_touches"] = summarize(telemetry.slow_touches);
  return json;
}

Json end_error_json(const std::optional<engine::EndError>& end) {
  if (!end) {
    return nullptr;
  }
  Json json;
  json["code"] = error_code_name(end->error.code);
  json["side"] = end->side;
  json["phase"] = end->phase;
  json["message"] = end->error.message();
  return json;
}

Json sweep_json(const vmm::SweepResult& result) {
  Json json;
  json["pages_expected"] = result.pages_expected;
  json["pages_checked"] = result.pages_checked;
  json["mismatches"] = result.mismatches;
  json["first_bad_page"] = result.first_bad_page;
  return json;
}

Json error_json(const Error& error) {
  Json json;
  json["type"] = "error";
  json["code"] = error_code_name(error.code);
  json["message"] = error.message();
  return json;
}

Error error_of_json(const Json& json) {
  const auto name = text_of(json, "code");
  for (int i = 1; i <= static_cast<int>(ErrorCode::kInternal); ++i) {
    const auto code = static_cast<ErrorCode>(i);
    if (error_code_name(code) == name) {
      return make_error(code, "", text_of(json, "message"));
    }
  }
  return make_error(ErrorCode::kProtocol, "control socket", "the answer is none that is known");
}

Json make_report(const ReportInput& input) {
  const auto& report = input.migration;
  Json json;
  json["schema"] = kReportSchema;
  json["outcome"] = outcome_name(report.outcome);
  json["error"] = end_error_json(report.error);
  json["mode"] = engine::mode_name(input.settings.source.mode);
  Json versions;
  versions["godwit"] = kGodwitVersion;
  versions["protocol"] = wire::kProtocolVersion;
  json["versions"] = std::move(versions);
  json["seed"] = input.config.seed;
  json["guest"] = guest_json(input.config, input.telemetry);
  add_times(json, report);
  json["guest_gap_ns"] = 0;
  json["largest_stall_ns"] = largest_stall(input.telemetry);
  json["clock_error_ns"] = 0;
  Json bytes;
  bytes["wire"] = report.wire_bytes;
  bytes["page_payload"] = report.payload_bytes;
  bytes["urgent"] = report.urgent_bytes;
  bytes["control"] = report.control_bytes;
  json["bytes"] = std::move(bytes);
  json["pages"] = pages_json(report);
  json["faults"] = summarize(report.target.faults);
  json["guest_faults"] = summarize(input.telemetry.slow_touches);
  json["rounds"] = rounds_json(report.rounds);
  json["floors"] = floors_json(input.floors);
  Json verified;
  verified["pages_expected"] = 0;
  verified["pages_checked"] = 0;
  verified["mismatches"] = 0;
  verified["guest_errors"] = input.telemetry.guest_errors;
  json["verified"] = std::move(verified);
  json["injected"] = injected_json(input);
  if (scheduling_degraded()) {
    json["warnings"].push_back(scheduling_warning("source"));
  }
  if (report.target.scheduling_degraded) {
    json["warnings"].push_back(scheduling_warning("target"));
  }
  add_placement(json, input);
  return json;
}

Json failure_report(const vmm::GuestConfig& config,
                    const MigrationSettings& settings,
                    const Error& error,
                    const std::string& phase) {
  ReportInput input;
  input.config = config;
  input.settings = settings;
  input.migration.outcome =
      error.code == ErrorCode::kCancelled ? engine::Outcome::kCancelled : engine::Outcome::kFailed;
  input.migration.error = engine::EndError{error, "source", phase};
  auto report = make_report(input);
  if (settings.timeline) {
    // Nobody is left to tell it.
    report["timeline"] = nullptr;
    report["phases"] = Json::array();
    report["recovery_ns"] = nullptr;
    report["valley"] = nullptr;
  }
  return report;
}

int exit_code_of(const Json& report) {
  const auto outcome = text_of(report, "outcome");
  if (outcome == "in_doubt") {
    return kExitHeld;
  }
  const auto verified = object_of(report, "verified");
  if (number_of(verified, "mismatches") != 0 || number_of(verified, "guest_errors") != 0) {
    return kExitDamaged;
  }
  return outcome == "completed" ? kExitOk : kExitFailed;
}

}  // namespace godwit::app
