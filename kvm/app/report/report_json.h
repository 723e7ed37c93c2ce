#pragma once

#include "godwit/json/json.h"

#include "report/report.h"

namespace godwit::app {

inline constexpr const char* kReportSchema = "godwit.report.v1";

/// The report as `--json` prints it and as it travels between processes of the command.
Json report_json(Report report);
/// The report of which report_json() makes `json` again. Members that are absent or of another type
/// read as zero.
Report report_of(const Json& json);

/// Prints the report to stdout: as one JSON object, or for people.
void print_report(const Report& report, bool json);

}  // namespace godwit::app
