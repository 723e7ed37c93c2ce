#include <signal.h>

#include <cstdio>

#include <fmt/format.h>

#include "cli/exit_code.h"
#include "cli/output.h"
#include "commands/commands.h"
#include "control/control_socket.h"
#include "control/progress.h"
#include "control/requests.h"
#include "report/report_json.h"
#include "report/trace_file.h"

namespace godwit::app {
namespace {

constexpr std::int64_t kClientTimeoutNs = 10'000'000'000;

/// Asks the migrating process to cancel, over a connection of its own.
/// A further signal ends the wait for its answer, and stays to be taken.
void send_cancel(const std::string& control, const Signals& signals) {
  auto connection = ControlConnection::connect(control);
  if (!connection) {
    return;
  }
  Json request;
  request["command"] = "cancel";
  if ((*connection)->ask(request)) {
    if (auto reply = (*connection)->next(signals.fd(), Deadline::after_ns(kClientTimeoutNs));
        reply && text_of(*reply, "type") == "error") {
      complain(text_of(*reply, "message"));
    }
  }
}

/// What is to be known of a migration besides its report.
struct Course {
  bool interrupted = false;
  bool left = false;  ///< interrupted once more: nobody here waited for its end
  Result<Json> trace = Json::object();
  const char* phase = "control";  ///< "request" once the guest's process has been reached
};

/// Follows one migration to the message that brings its report; a signal cancels it, and its
/// outcome is still awaited until the second.
Result<Json> follow(const MigrateLine& line, const Signals& signals, Course& course) {
  if (!line.trace.empty()) {
    GODWIT_TRY(check_trace_path(line.trace));
  }
  GODWIT_TRY_ASSIGN(const auto connection, ControlConnection::connect(line.control));
  course.phase = "request";
  GODWIT_TRY(connection->ask(encode_request({line.to, line.migration, !line.trace.empty()})));
  ProgressView view;
  for (;;) {
    auto message = connection->next(signals.fd());
    if (!message && message.error().code == ErrorCode::kCancelled) {
      signals.take();
      view.finish();
      if (course.interrupted) {
        course.left = true;
        return fail(ErrorCode::kCancelled,
                    "control socket",
                    "interrupted again: the migration goes on in the guest's process; `godwit "
                    "status` tells how it ends");
      }
      course.interrupted = true;
      complain("interrupted: cancelling");
      send_cancel(line.control, signals);
      continue;
    }
    if (!message) {
      view.finish();
      return fail(message.error().code,
                  "control socket",
                  "the guest's process ended or closed it before it reported; `godwit status` at "
                  "the target tells whether the guest is there");
    }
    const auto type = text_of(*message, "type");
    if (type == "progress") {
      view.show(*message);
      continue;
    }
    view.finish();
    if (type == "report") {
      if (!line.trace.empty()) {
        course.trace = next_trace(*connection, signals.fd());
      }
      return *message;
    }
    return fail(error_of_json(*message));
  }
}

}  // namespace

int migrate_command(const MigrateLine& line, const Signals& signals) {
  Course course;
  const auto message = follow(line, signals, course);
  if (!message) {
    const auto& error = message.error();
    complain(fmt::format("source, phase {}: {}", course.phase, error.message()));
    if (line.json) {
      auto failed = failure_report({}, line.migration, error, course.phase);
      if (course.left || error.code == ErrorCode::kClosed) {
        failed["outcome"] = "in_doubt";  // whoever knows the outcome was not asked to the end
      }
      print_to(stdout, json_text(failed, 2) + "\n");
    }
    switch (error.code) {
      case ErrorCode::kState:  // the guest's process refuses: the guest stays as it is
        return kExitFailed;
      case ErrorCode::kClosed:  // it is gone, and with it who knew
        return kExitHeld;
      default:
        return course.interrupted ? static_cast<int>(kExitInterrupted) : setup_exit_code(error);
    }
  }
  const auto report = object_of(*message, "report");
  complain_of_warnings(report);
  print_to(stdout, line.json ? json_text(report, 2) + "\n" : report_text(report));
  auto code = exit_code_of(report);
  if (!line.trace.empty()) {
    code = keep_trace(line.trace, course.trace, code);
  }
  return finish_output(
      course.interrupted && code == kExitFailed ? static_cast<int>(kExitInterrupted) : code);
}

}  // namespace godwit::app
