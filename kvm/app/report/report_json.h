#pragma once

#include <optional>
#include <string>

#include "godwit/engine/report.h"
#include "godwit/json/json.h"

#include "cli/settings.h"
#include "host/floors.h"
#include "host/memory.h"

namespace godwit::app {

inline constexpr const char* kReportSchema = "godwit.report.v1";

/// Everything that one report is made of; what is unknown stays at its zero.
struct ReportInput {
  engine::MigrationReport migration;
  vmm::GuestConfig config;
  MigrationSettings settings;
  vmm::GuestTelemetry telemetry;  ///< of the side that writes the report
  std::int64_t cpu_ns = 0;        ///< this process's, during the migration
  ProcessMemory memory;
  std::optional<Floors> floors;
};

/// The report of schema kReportSchema. Figures that only a later look at the target can give
/// (gap, clock error, sweep) are zero: demo fills them in.
Json make_report(const ReportInput& input);

/// The report of a migration that never began.
Json failure_report(const vmm::GuestConfig& config,
                    const MigrationSettings& settings,
                    const Error& error,
                    const std::string& phase);

/// count, p50_ns, p99_ns, p999_ns, max_ns, and buckets: [upper_ns, count] of those that are not
/// empty.
Json summarize(const Histogram& histogram);
Json telemetry_json(const vmm::GuestTelemetry& telemetry);
Json sweep_json(const vmm::SweepResult& result);
Json error_json(const Error& error);
/// The error that error_json() wrote in another process.
Error error_of_json(const Json& json);
/// code, side, phase, message; null for none.
Json end_error_json(const std::optional<engine::EndError>& end);

/// The exit code that a report stands for.
int exit_code_of(const Json& report);

/// The report for people, several lines.
std::string report_text(const Json& report);
/// Says the report's warnings on stderr.
void complain_of_warnings(const Json& report);

}  // namespace godwit::app
