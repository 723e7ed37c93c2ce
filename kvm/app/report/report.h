#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "godwit/base/histogram.h"
#include "godwit/base/names.h"
#include "godwit/engine/report.h"
#include "godwit/vmm/guest.h"

#include "cli/choices.h"
#include "control/requests.h"
#include "host/floors.h"
#include "host/memory.h"

namespace godwit::app {

inline constexpr Names kOutcomeNames{std::array{Named{engine::Outcome::kCompleted, "completed"},
                                                Named{engine::Outcome::kFailed, "failed"},
                                                Named{engine::Outcome::kCancelled, "cancelled"},
                                                Named{engine::Outcome::kInDoubt, "in_doubt"}}};

struct LatencySummary {
  std::uint64_t count = 0, p50_ns = 0, p99_ns = 0, p999_ns = 0, max_ns = 0;
  /// {upper_ns, count} of those that are not empty.
  std::vector<std::pair<std::uint64_t, std::uint64_t>> buckets;
};
LatencySummary summarize(const Histogram& histogram);

// Parts of a report that are not always there. They are no nested classes, of which clang cannot
// make an optional while the class around them is incomplete.

struct ReportPlanted {
  std::string kind;
  std::optional<std::uint64_t> page;  ///< unset for faults that hit none
};

struct ReportTimeline {
  std::int64_t interval_ns = 0, start_ns = 0;
  std::vector<std::uint64_t> touches;
};

struct ReportPhase {
  std::string name;
  std::int64_t start_ns = 0, end_ns = 0;
};

/// What --timeline adds.
struct ReportCourse {
  std::optional<ReportTimeline> timeline;
  std::vector<ReportPhase> phases;
  std::optional<std::int64_t> recovery_ns;
  std::optional<double> valley;
};

/// What both sides say when neither may give up.
struct ReportHeld {
  std::optional<StatusAnswer> source, target;
};

/// One migration as it is reported; docs/command.md says what each member means. The source fills it
/// by source_report(). What only a later look at the side that runs the guest can tell is zero until
/// add_target(), add_timeline() and add_sweep() fill it. Units: ns, bytes, pages.
struct Report {
  engine::Outcome outcome = engine::Outcome::kFailed;
  std::optional<engine::EndError> error;
  std::string mode;
  std::string godwit_version;
  std::uint32_t protocol_version = 0;
  std::uint64_t seed = 0;
  struct {
    std::string kind;
    std::uint64_t memory_bytes = 0, populated_bytes = 0, working_set_bytes = 0;
    std::uint32_t vcpus = 0;
    std::string workload;
    std::uint64_t steps = 0;
  } guest;
  std::int64_t total_ns = 0, setup_ns = 0, precopy_ns = 0, downtime_ns = 0, postcopy_ns = 0;
  std::int64_t prealloc_ns = 0;
  engine::MigrationReport::Parts downtime_parts;
  bool downtime_limit_met = true;
  std::int64_t guest_gap_ns = 0, largest_stall_ns = 0, clock_error_ns = 0;
  struct {
    std::uint64_t wire = 0, page_payload = 0, urgent = 0, control = 0;
  } bytes;
  struct {
    std::uint64_t total = 0, populated = 0, zero = 0, sent = 0, resent = 0, demand = 0,
                  background = 0, overtaken = 0, sent_twice_after_switch = 0, prefetched = 0,
                  retracted = 0, retracted_at_switch = 0;
  } pages;
  LatencySummary faults;
  LatencySummary guest_faults;
  std::vector<engine::RoundReport> rounds;
  engine::SwitchReport ended_precopy;
  engine::RecoveryReport recovery;
  std::optional<Floors> floors;
  struct {
    std::uint64_t pages_expected = 0, pages_checked = 0, mismatches = 0, guest_errors = 0;
  } verified;
  std::optional<ReportPlanted> planted;
  std::vector<std::string> warnings;
  std::string transport, dirty_source, placement, backing;
  std::uint32_t channels = 1;
  std::string congestion;
  struct {
    std::int64_t source = 0, target = 0;
  } cpu_ns;
  struct Sides {
    std::uint64_t source = 0, target = 0;
  };
  /// Of the source's lanes.
  struct {
    std::string priority;
    bool raised = false;
    std::int64_t waited_ns = 0;
  } scheduling;
  Sides overhead_bytes;
  Sides page_table_bytes;

  std::optional<ReportCourse> course;
  std::optional<ReportHeld> held;
};

/// Everything that the source's report is made of; what is unknown stays at its zero.
struct ReportInput {
  engine::MigrationReport migration;
  vmm::GuestConfig config;
  MigrationSettings settings;
  vmm::GuestTelemetry telemetry;  ///< of the side that writes the report
  std::int64_t cpu_ns = 0;        ///< this process's, during the migration
  ProcessMemory memory;
  std::optional<Floors> floors;
};
Report source_report(const ReportInput& input);

/// The report of a migration that never began.
Report failure_report(const vmm::GuestConfig& config,
                      const MigrationSettings& settings,
                      const Error& error,
                      const std::string& phase);

/// The exit code that a report stands for.
int exit_code_of(const Report& report);

/// Says the report's warnings on stderr.
void complain_of_warnings(const Report& report);

}  // namespace godwit::app
