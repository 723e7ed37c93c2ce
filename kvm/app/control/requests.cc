#include "control/requests.h"

#include <fmt/format.h>

#include "godwit/json/members.h"

#include "cli/advice.h"
#include "cli/option_json.h"
#include "cli/options.h"

namespace godwit::app {
namespace {

constexpr Names kAnswerNames{std::array{Named{Answer::kReply, "reply"},
                                        Named{Answer::kError, "error"},
                                        Named{Answer::kProgress, "progress"},
                                        Named{Answer::kReport, "report"},
                                        Named{Answer::kTrace, "trace"}}};

template <typename Members>
void visit(Members& in, SettleRequest& request) {
  in.optional("attempts", request.attempts);
}

template <typename Members>
void visit(Members& in, TelemetryRequest& request) {
  in.optional("timeline_from", request.timeline_from);
}

template <typename Members>
void visit(Members& in, engine::Progress& progress) {
  in.value("phase", progress.phase);
  in.value("round", progress.round);
  in.value("sent_pages", progress.sent_pages);
  in.value("remaining_pages", progress.remaining_pages);
  in.value("bytes_per_s", progress.bytes_per_s);
  in.value("eta_ns", progress.eta_ns);
}

/// By its buckets' numbers, so that it is the same in the process that reads it.
template <typename Members>
void visit(Members& in, Histogram& histogram) {
  std::vector<std::pair<std::uint64_t, std::uint64_t>> buckets;
  for (const auto& [bucket, count] : histogram.buckets()) {
    buckets.emplace_back(bucket, count);
  }
  auto max_ns = histogram.max();
  in.pairs("buckets", buckets);
  in.value("max_ns", max_ns);
  if constexpr (Members::kReads) {
    histogram = {};
    for (const auto& [bucket, count] : buckets) {
      if (bucket <= UINT32_MAX) {
        histogram.add_bucket(static_cast<std::uint32_t>(bucket), count);
      }
    }
    histogram.raise_max(max_ns);
  }
}

template <typename Members>
void visit(Members& in, vmm::GuestTelemetry::Vcpu& vcpu) {
  in.value("steps", vcpu.steps);
  in.value("last_step_ns", vcpu.last_step_ns);
  in.value("last_counter", vcpu.last_counter);
  in.value("first_step_ns", vcpu.first_step_ns);
  in.value("first_counter", vcpu.first_counter);
  in.value("first_step_faults_ns", vcpu.first_step_faults_ns);
  in.value("first_step_here_ns", vcpu.first_step_here_ns);
  in.value("previous_step_ns", vcpu.previous_step_ns);
  in.value("previous_counter", vcpu.previous_counter);
  in.value("largest_step_ns", vcpu.largest_step_ns);
}

template <typename Members>
void visit(Members& in, vmm::GuestTelemetry& telemetry) {
  in.list("vcpus", telemetry.vcpus, [](auto& inside, auto& vcpu) { visit(inside, vcpu); });
  in.value("counter_hz", telemetry.counter_hz);
  in.value("guest_errors", telemetry.guest_errors);
  in.value("first_error", telemetry.first_error);
  in.value("step_holes", telemetry.step_holes);
  in.object("slow_touches", [&](auto& inside) { visit(inside, telemetry.slow_touches); });
}

template <typename Members>
void visit(Members& in, vmm::Throughput& throughput) {
  in.value("first", throughput.first);
  in.values("touches", throughput.touches);
}

template <typename Members>
void visit(Members& in, SourceTimeline& timeline) {
  visit(in, timeline.seen);
  in.value("began_ns", timeline.span.began_ns);
  in.value("blackout_end_ns", timeline.span.blackout_end_ns);
  in.value("ended_ns", timeline.span.ended_ns);
}

template <typename Members>
void visit(Members& in, TelemetryAnswer& answer) {
  in.object("telemetry", [&](auto& inside) { visit(inside, answer.telemetry); });
  in.optional("timeline", answer.timeline, [](auto& inside, auto& seen) { visit(inside, seen); });
  in.value("overhead_bytes", answer.memory.overhead);
  in.value("page_table_bytes", answer.memory.page_tables);
}

template <typename Members>
void visit(Members& in, SweepAnswer& answer) {
  in.object("telemetry", [&](auto& inside) { visit(inside, answer.telemetry); });
  in.object("sweep", [&](auto& inside) {
    inside.value("pages_expected", answer.sweep.pages_expected);
    inside.value("pages_checked", answer.sweep.pages_checked);
    inside.value("mismatches", answer.sweep.mismatches);
    inside.value("first_bad_page", answer.sweep.first_bad_page);
  });
}

/// All but the report.
template <typename Members>
void visit(Members& in, ReportAnswer& answer) {
  in.object("telemetry", [&](auto& inside) { visit(inside, answer.telemetry); });
  in.value("mean_step_ns", answer.mean_step_ns);
  in.optional("timeline", answer.timeline, [](auto& inside, auto& seen) { visit(inside, seen); });
}

template <typename Members>
void visit(Members& in, SwitchRequest& request) {
  in.value("force", request.force);
}

template <typename Members>
void visit(Members& in, ResumeRequest& request) {
  in.value("fence", request.fence);
  in.value("yes", request.yes);
}

template <typename Members>
void visit(Members& in, ReportRequest& request) {
  in.optional("id", request.id);
}

template <typename Members>
void visit(Members& in, RecoverRequest& request) {
  in.value("to", request.to);
}

template <typename Message>
Json request_with(Request request, Message& message) {
  MemberWriter in;
  in.named("command", request, kRequestNames);
  visit(in, message);
  return in.take();
}

template <typename Message>
Json answer_with(Answer type, Message& message) {
  MemberWriter in;
  in.named("type", type, kAnswerNames);
  visit(in, message);
  return in.take();
}

template <typename Message>
Message read(const Json& json) {
  Message message;
  MemberReader in(json);
  visit(in, message);
  return message;
}

Json answer(Answer type) {
  MemberWriter in;
  in.named("type", type, kAnswerNames);
  return in.take();
}

}  // namespace

Json request_json(Request request) {
  MemberWriter in;
  in.named("command", request, kRequestNames);
  return in.take();
}

Result<Request> request_of(const Json& json) {
  const auto name = text_of(json, "command");
  const auto request = kRequestNames.parse(name);
  if (!request) {
    return fail(ErrorCode::kState, "", fmt::format("unknown command '{}'", name));
  }
  return *request;
}

Json request_json(SettleRequest request) {
  return request_with(Request::kSettle, request);
}

SettleRequest settle_of(const Json& json) {
  return read<SettleRequest>(json);
}

Json request_json(SwitchRequest request) {
  return request_with(Request::kSwitch, request);
}

SwitchRequest switch_of(const Json& json) {
  return read<SwitchRequest>(json);
}

Json request_json(RecoverRequest request) {
  return request_with(Request::kRecover, request);
}

RecoverRequest recover_of(const Json& json) {
  return read<RecoverRequest>(json);
}

Json request_json(ResumeRequest request) {
  return request_with(Request::kResume, request);
}

ResumeRequest resume_of(const Json& json) {
  return read<ResumeRequest>(json);
}

Json request_json(ReportRequest request) {
  return request_with(Request::kReport, request);
}

ReportRequest report_request_of(const Json& json) {
  return read<ReportRequest>(json);
}

Json request_json(TelemetryRequest request) {
  return request_with(Request::kTelemetry, request);
}

TelemetryRequest telemetry_request_of(const Json& json) {
  return read<TelemetryRequest>(json);
}

Json request_json(const MigrationRequest& request) {
  const auto options = request_options();
  auto json = request_json(Request::kMigrate);
  json["to"] = request.to;
  json["options"] = members_of(options.texts(request.settings));
  json["trace"] = request.trace;
  return json;
}

Result<MigrationRequest> migration_of(const Json& json) {
  MigrationRequest request;
  request.to = text_of(json, "to");
  if (auto options = read_members(request_options(), request.settings, object_of(json, "options"));
      !options) {
    return fail(ErrorCode::kInvalidArgument, "migrate", options.error().message());
  }
  request.trace = flag_of(json, "trace");
  return request;
}

std::optional<Answer> answer_of(const Json& json) {
  return kAnswerNames.parse(text_of(json, "type"));
}

Json reply_json() {
  return answer(Answer::kReply);
}

Json error_json(const Error& error) {
  auto json = answer(Answer::kError);
  json["code"] = error_code_name(error.code);
  json["message"] = advised(error).message();
  return json;
}

Error error_of_json(const Json& json) {
  const auto name = text_of(json, "code");
  const auto code = error_code_of(name);
  if (error_code_name(code) != name) {
    return make_error(ErrorCode::kProtocol, "control socket", "the answer is none that is known");
  }
  return make_error(code, "", text_of(json, "message"));
}

Json trace_answer_json(Json trace) {
  auto json = answer(Answer::kTrace);
  json["trace"] = std::move(trace);
  return json;
}

Json trace_of(const Json& json) {
  return object_of(json, "trace");
}

Json progress_json(engine::Progress progress) {
  return answer_with(Answer::kProgress, progress);
}

engine::Progress progress_of(const Json& json) {
  return read<engine::Progress>(json);
}

Json fill_json(FillState fill) {
  auto json = answer(fill.filled ? Answer::kReply : Answer::kProgress);
  json["phase"] = "fill";
  json["resident_bytes"] = fill.resident_bytes;
  return json;
}

Json status_json(StatusAnswer status) {
  return answer_with(Answer::kReply, status);
}

StatusAnswer status_of(const Json& json) {
  return read<StatusAnswer>(json);
}

Json telemetry_json(TelemetryAnswer answer) {
  return answer_with(Answer::kReply, answer);
}

TelemetryAnswer telemetry_of(const Json& json) {
  return read<TelemetryAnswer>(json);
}

Json sweep_json(SweepAnswer answer) {
  return answer_with(Answer::kReply, answer);
}

SweepAnswer sweep_of(const Json& json) {
  return read<SweepAnswer>(json);
}

Json report_answer_json(ReportAnswer answer) {
  auto report = std::move(answer.report);
  auto json = answer_with(Answer::kReport, answer);
  json["report"] = std::move(report);
  return json;
}

ReportAnswer report_answer_of(const Json& json) {
  auto answer = read<ReportAnswer>(json);
  answer.report = object_of(json, "report");
  return answer;
}

ErrorCode error_code_of(const std::string& name) {
  for (int i = 1; i <= static_cast<int>(ErrorCode::kInternal); ++i) {
    const auto code = static_cast<ErrorCode>(i);
    if (error_code_name(code) == name) {
      return code;
    }
  }
  return ErrorCode::kProtocol;
}

}  // namespace godwit::app
