#include <signal.h>

#include <cstdio>

#include <fmt/format.h>

#include "cli/exit_code.h"
#include "cli/output.h"
#include "commands/commands.h"
#include "control/control_socket.h"
#include "control/progress.h"
#include "control/requests.h"
#include "control/timeouts.h"
#include "report/report_json.h"
#include "report/trace_file.h"

namespace godwit::app {
namespace {

/// Asks the migrating process to cancel, over a connection of its own.
/// A further signal ends the wait for its answer, and stays to be taken.
void send_cancel(const std::string& control, const Signals& signals) {
  auto connection = ControlConnection::connect(control);
  if (!connection) {
    return;
  }
  if ((*connection)->ask(request_json(Request::kCancel))) {
    if (auto reply = (*connection)->next(signals.fd(), Deadline::after_ns(kClientTimeoutNs));
        reply && answer_of(*reply) == Answer::kError) {
      complain(error_of_json(*reply).message());
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

/// What is asked of the guest's process, and of whom.
struct Asked {
  std::string control;
  Json request;
  bool trace = false;  ///< follows the report
};

/// Follows one migration to its report; a signal cancels it, and its
/// outcome is still awaited until the second.
Result<Report> follow(const Asked& asked, const Signals& signals, Course& course) {
  GODWIT_TRY_ASSIGN(const auto connection, ControlConnection::connect(asked.control));
  course.phase = "request";
  GODWIT_TRY(connection->ask(asked.request));
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
      send_cancel(asked.control, signals);
      continue;
    }
    if (!message) {
      view.finish();
      return fail(message.error().code,
                  "control socket",
                  "the guest's process ended or closed it before it reported; `godwit status` at "
                  "the target tells whether the guest is there");
    }
    const auto type = answer_of(*message);
    if (type == Answer::kProgress) {
      view.show(progress_of(*message));
      continue;
    }
    view.finish();
    if (type == Answer::kReport) {
      if (asked.trace) {
        course.trace = next_trace(*connection, signals.fd());
      }
      return report_of(report_answer_of(*message).report);
    }
    return fail(error_of_json(*message));
  }
}

/// Without a report: says why, and returns the exit code.
int no_report(const Error& error,
              const Course& course,
              const MigrationSettings& settings,
              bool json) {
  complain(fmt::format("source, phase {}: {}", course.phase, error.message()));
  if (json) {
    auto failed = failure_report({}, settings, error, course.phase);
    if (course.left || error.code == ErrorCode::kClosed) {
      failed.outcome =
          engine::Outcome::kInDoubt;  // whoever knows the outcome was not asked to the end
    }
    print_report(failed, true);
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

int finish(const Course& course, int code) {
  return finish_output(
      course.interrupted && code == kExitFailed ? static_cast<int>(kExitInterrupted) : code);
}

}  // namespace

int migrate_command(const MigrateLine& line, const Signals& signals) {
  Course course;
  const bool traced = !line.trace.empty();
  if (traced) {
    if (auto path = check_trace_path(line.trace); !path) {
      return no_report(path.error(), course, line.migration, line.json);
    }
  }
  const auto report = follow(
      {line.control, request_json(MigrationRequest{line.to, line.migration, traced}), traced},
      signals,
      course);
  if (!report) {
    return no_report(report.error(), course, line.migration, line.json);
  }
  complain_of_warnings(*report);
  print_report(*report, line.json);
  auto code = exit_code_of(*report);
  if (traced) {
    code = keep_trace(line.trace, course.trace, code);
  }
  return finish(course, code);
}

int recover_command(const RecoverLine& line, const Signals& signals) {
  Course course;
  const auto report =
      follow({line.control, request_json(RecoverRequest{line.to})}, signals, course);
  if (!report) {
    return no_report(report.error(), course, {}, line.json);
  }
  complain_of_warnings(*report);
  print_report(*report, line.json);
  return finish(course, exit_code_of(*report));
}

}  // namespace godwit::app
