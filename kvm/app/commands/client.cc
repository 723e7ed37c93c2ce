#include <cstdio>
#include <optional>
#include <string>

#include <fmt/format.h>

#include "cli/exit_code.h"
#include "cli/output.h"
#include "cli/units_text.h"
#include "commands/commands.h"
#include "control/control_socket.h"
#include "control/requests.h"
#include "control/timeouts.h"
#include "report/report_json.h"

namespace godwit::app {
namespace {

void print_status(const StatusAnswer& status) {
  auto line = status.state;
  if (status.phase && !status.phase->empty()) {
    line += fmt::format(" ({})", *status.phase);
  }
  const auto add = [&line](const char* name, const std::optional<std::string>& text) {
    if (text && !text->empty()) {
      line += fmt::format(", {} {}", name, *text);
    }
  };
  add("kind", status.kind);
  add("workload", status.workload);
  add("reason", status.reason);
  add("switched for", status.switch_reason);
  if (status.dirtied_pages_per_s.value_or(0) > 0) {
    line += fmt::format(", {:.0f} pages/s moved and {:.0f} dirtied",
                        status.moved_pages_per_s.value_or(0),
                        *status.dirtied_pages_per_s);
  }
  if (status.expected_blackout_ns) {
    line +=
        fmt::format(", a blackout now would take {}", duration_text(*status.expected_blackout_ns));
  }
  if (status.memory_bytes) {
    line += fmt::format(", {} of {} allocated",
                        size_text(status.resident_bytes.value_or(0)),
                        size_text(*status.memory_bytes));
  }
  if (status.last_migration) {
    line +=
        fmt::format(", migration {} {}", status.last_migration->id, status.last_migration->outcome);
  }
  if (const auto missing = status.missing_pages.value_or(0); missing > 0) {
    line += fmt::format(", {} pages still at the source", missing);
  }
  print_to(stdout, line + "\n");
}

Result<Json> ask(const ClientLine& line, Request request, const Signals& signals) {
  GODWIT_TRY_ASSIGN(const auto connection, ControlConnection::connect(line.control));
  GODWIT_TRY(connection->ask(
      request == Request::kSwitch   ? request_json(SwitchRequest{line.force})
      : request == Request::kReport ? request_json(ReportRequest{line.migration})
      : request == Request::kResume ? request_json(ResumeRequest{line.fence, line.yes})
                                    : request_json(request)));
  GODWIT_TRY_ASSIGN(auto reply,
                    connection->next(signals.fd(), Deadline::after_ns(kClientTimeoutNs)));
  return reply;
}

int print_answered_report(const Json& reply, bool json) {
  print_report(report_of(report_answer_of(reply).report), json);
  return finish_output(kExitOk);
}

}  // namespace

int client_command(const ClientLine& line, const Signals& signals) {
  const auto request = *kRequestNames.parse(line.command);
  const auto reply = ask(line, request, signals);
  if (!reply) {
    complain(reply.error().message());
    if (line.json) {
      print_to(stdout, json_text(error_json(reply.error())) + "\n");
    }
    return reply.error().code == ErrorCode::kCancelled ? kExitInterrupted : kExitEnvironment;
  }
  if (answer_of(*reply) == Answer::kReport) {
    return print_answered_report(*reply, line.json);
  }
  if (line.json) {
    print_to(stdout, json_text(*reply) + "\n");
  }
  if (answer_of(*reply) == Answer::kError) {
    complain(error_of_json(*reply).message());
    return kExitFailed;
  }
  if (!line.json && request == Request::kStatus) {
    print_status(status_of(*reply));
  }
  return finish_output(kExitOk);
}

}  // namespace godwit::app
