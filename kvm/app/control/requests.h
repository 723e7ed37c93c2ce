#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "godwit/base/names.h"
#include "godwit/base/result.h"
#include "godwit/engine/report.h"
#include "godwit/json/json.h"
#include "godwit/vmm/guest.h"

#include "cli/choices.h"
#include "host/memory.h"

namespace godwit::app {

// What goes over a control socket, each message a line: its names and members, and nothing else
// knows them. A request has a "command", an answer a "type". What is read may come from any process
// of this user: members that are absent or wrong leave what they are for at its default, except in a
// migration's request, where they are refused.

enum class Request : std::uint8_t {
  kStatus = 1,
  kFilled,  ///< waits for the initial fill
  kSettle,  ///< waits until no migration is going on, see SettleRequest
  kTelemetry,
  kSweep,
  kMigrate,  ///< progress, then a report and, if asked for, the trace
  kRecover,  ///< the same for a migration that is held
  kResume,   ///< runs a held guest on, see ResumeRequest
  kReport,   ///< of a migration away from here that has ended, see ReportRequest
  kSwitch,
  kCancel,
  kStop
};
inline constexpr Names kRequestNames{std::array{Named{Request::kStatus, "status"},
                                                Named{Request::kFilled, "filled"},
                                                Named{Request::kSettle, "settle"},
                                                Named{Request::kTelemetry, "telemetry"},
                                                Named{Request::kSweep, "sweep"},
                                                Named{Request::kMigrate, "migrate"},
                                                Named{Request::kRecover, "recover"},
                                                Named{Request::kResume, "resume"},
                                                Named{Request::kReport, "report"},
                                                Named{Request::kSwitch, "switch"},
                                                Named{Request::kCancel, "cancel"},
                                                Named{Request::kStop, "stop"}}};

/// A request without members of its own.
Json request_json(Request request);
/// Errors: kState for a command that is unknown.
Result<Request> request_of(const Json& json);

struct SettleRequest {
  /// An attempt to send a guest here that fails ends the wait too, once more than so many have;
  /// unset: the next one.
  std::optional<std::uint64_t> attempts;
};
Json request_json(SettleRequest request);
SettleRequest settle_of(const Json& json);

struct SwitchRequest {
  bool force = false;  ///< mode precopy: whatever the blackout takes
};
Json request_json(SwitchRequest request);
SwitchRequest switch_of(const Json& json);

struct RecoverRequest {
  std::string to;  ///< another address of the target; empty: the one that it had
};
Json request_json(RecoverRequest request);
RecoverRequest recover_of(const Json& json);

struct ResumeRequest {
  bool fence = false;  ///< the target is dead, whoever asks says
  bool yes = false;    ///< and knows what is lost
};
Json request_json(ResumeRequest request);
ResumeRequest resume_of(const Json& json);

struct ReportRequest {
  std::optional<std::uint64_t> id;  ///< unset: the last one
};
Json request_json(ReportRequest request);
ReportRequest report_request_of(const Json& json);

struct TelemetryRequest {
  std::optional<std::int64_t> timeline_from;  ///< an interval: the answer tells all since
};
Json request_json(TelemetryRequest request);
TelemetryRequest telemetry_request_of(const Json& json);

/// What `migrate` and `demo` ask of the process that runs the guest.
struct MigrationRequest {
  std::string to;  ///< tcp:HOST:PORT or unix:PATH
  MigrationSettings settings;
  bool trace = false;  ///< the answer brings the trace too
};
Json request_json(const MigrationRequest& request);
/// What the command line would refuse is refused here too. Errors: kInvalidArgument.
Result<MigrationRequest> migration_of(const Json& json);

enum class Answer : std::uint8_t {
  kReply = 1,
  kError,
  kProgress,
  kReport,
  kTrace  ///< follows the report
};
/// Nothing for a message that is no answer.
std::optional<Answer> answer_of(const Json& json);

/// An answer that says no more than that it was done.
Json reply_json();
Json error_json(const Error& error);
/// The error that an answer tells; an answer that tells none is one.
Error error_of_json(const Json& json);

Json trace_answer_json(Json trace);
/// An empty object where there is none.
Json trace_of(const Json& json);

Json progress_json(engine::Progress progress);
engine::Progress progress_of(const Json& json);

/// How far the initial fill is: progress, and a reply once it has ended.
struct FillState {
  bool filled = false;
  std::uint64_t resident_bytes = 0;
};
Json fill_json(FillState fill);

/// A migration away from here that has ended. Numbers count from 1.
struct EndedMigration {
  std::uint64_t id = 0;
  std::string outcome;
  std::optional<engine::EndError> error;
};

/// What there is of a guest: here, on its way here, or away.
struct StatusAnswer {
  std::string state;
  std::optional<std::string> phase;  ///< of a migration
  std::optional<std::uint32_t> round;
  std::optional<std::uint64_t> remaining_pages;
  // The source's, while it migrates: pages a second in the last round; the blackout that the rest
  // would take in mode precopy; why pre-copy ended.
  std::optional<double> moved_pages_per_s;
  std::optional<double> dirtied_pages_per_s;
  std::optional<std::int64_t> expected_blackout_ns;
  std::optional<std::string> switch_reason;
  std::optional<std::uint64_t> missing_pages;  ///< still at the source
  std::optional<std::string> reason;           ///< why an attempt to send a guest here ended
  std::optional<engine::EndError> error;       ///< the same in full
  std::optional<std::string> kind;
  std::optional<std::uint32_t> vcpus;
  std::optional<std::string> workload;
  std::optional<std::string> dirty_source;
  std::optional<std::uint64_t> memory_bytes;
  std::optional<std::uint64_t> resident_bytes;
  std::optional<bool> filled;
  std::optional<std::uint64_t> steps;
  std::optional<std::uint64_t> guest_errors;
  std::optional<std::uint64_t> failed_attempts;  ///< to send a guest here
  std::optional<EndedMigration> last_migration;  ///< away from here

  /// Whether the attempt to send a guest here has ended, without a guest that runs.
  [[nodiscard]] bool ended() const {
    return state == "held" || state == "in-doubt" || state == "failed";
  }
};
Json status_json(StatusAnswer status);
StatusAnswer status_of(const Json& json);
struct TelemetryAnswer {
  vmm::GuestTelemetry telemetry;
  std::optional<vmm::Throughput> timeline;
  ProcessMemory memory;
};
Json telemetry_json(TelemetryAnswer answer);
TelemetryAnswer telemetry_of(const Json& json);

struct SweepAnswer {
  vmm::GuestTelemetry telemetry;
  vmm::SweepResult sweep;
};
Json sweep_json(SweepAnswer answer);
SweepAnswer sweep_of(const Json& json);

/// What the source has seen, and when the migration did what.
struct SourceTimeline {
  vmm::Throughput seen;
  vmm::MigrationSpan span;
};

/// The source's report, and what else of it a later look at the target needs.
struct ReportAnswer {
  Json report;
  vmm::GuestTelemetry telemetry;
  std::int64_t mean_step_ns = 0;  ///< of the slowest vCPU, while the guest was being migrated
  std::optional<SourceTimeline> timeline;
};
Json report_answer_json(ReportAnswer answer);
ReportAnswer report_answer_of(const Json& json);

// Members of what other documents hold too.

/// The error of that name; kProtocol for a name that is none.
ErrorCode error_code_of(const std::string& name);

/// Members of an error that ended a migration: code, side, phase, message.
template <typename Members>
void visit(Members& in, engine::EndError& end) {
  std::string code(error_code_name(end.error.code));
  auto message = end.error.message();
  in.value("code", code);
  in.value("side", end.side);
  in.value("phase", end.phase);
  in.value("message", message);
  if constexpr (Members::kReads) {
    end.error = make_error(error_code_of(code), "", message);
  }
}

template <typename Members>
void visit(Members& in, EndedMigration& ended) {
  in.value("id", ended.id);
  in.value("outcome", ended.outcome);
  in.optional("error", ended.error, [](auto& inside, auto& end) { visit(inside, end); });
}

template <typename Members>
void visit(Members& in, StatusAnswer& status) {
  const auto why = [&] {
    in.optional("reason", status.reason);
    in.optional("error", status.error, [](auto& inside, auto& end) { visit(inside, end); });
  };
  in.value("state", status.state);
  in.optional("phase", status.phase);
  in.optional("round", status.round);
  in.optional("remaining_pages", status.remaining_pages);
  in.optional("moved_pages_per_s", status.moved_pages_per_s);
  in.optional("dirtied_pages_per_s", status.dirtied_pages_per_s);
  in.optional("expected_blackout_ns", status.expected_blackout_ns);
  in.optional("switch_reason", status.switch_reason);
  in.optional("missing_pages", status.missing_pages);
  if (status.ended()) {
    why();
  }
  in.optional("kind", status.kind);
  in.optional("vcpus", status.vcpus);
  in.optional("workload", status.workload);
  in.optional("dirty_source", status.dirty_source);
  in.optional("memory_bytes", status.memory_bytes);
  in.optional("resident_bytes", status.resident_bytes);
  in.optional("filled", status.filled);
  in.optional("steps", status.steps);
  in.optional("guest_errors", status.guest_errors);
  in.optional("failed_attempts", status.failed_attempts);
  in.optional("last_migration", status.last_migration, [](auto& inside, auto& ended) {
    visit(inside, ended);
  });
  if (!status.ended()) {
    why();  // the attempt before this one
  }
}

}  // namespace godwit::app
