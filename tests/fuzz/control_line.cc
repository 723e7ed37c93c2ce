// What a process on the control socket may write: lines of JSON, read as requests and as reports.
#include <sys/socket.h>

#include <algorithm>
#include <limits>

#include "godwit/base/check.h"
#include "godwit/base/clock.h"
#include "godwit/base/fd.h"

#include "control/control_socket.h"
#include "control/requests.h"
#include "fuzz_target.h"
#include "report/report_json.h"
#include "report/report_text.h"

namespace godwit::fuzz {
namespace {

constexpr std::size_t kInputBytesMax = 64U << 10;  // fits a socket's buffer at once

int depth_of(const Json& json) {
  int deepest = 0;
  if (json.is_structured()) {
    for (const auto& member : json) {
      deepest = std::max(deepest, depth_of(member));
    }
  }
  return deepest + 1;
}

void check_request(const Json& json) {
  const auto request = app::migration_of(json);
  if (!request) {
    GODWIT_CHECK(!request.error().message().empty());
    return;
  }
  const auto& source = request->settings.source;
  GODWIT_CHECK(source.switch_after_rounds >= 1 && source.max_rounds >= 1);
  GODWIT_CHECK(source.timeout_ns > 0 && source.downtime_limit_ns >= 0);
  // Deadlines are sums with the present time.
  GODWIT_CHECK(source.timeout_ns <= std::numeric_limits<std::int64_t>::max() / 10);
  GODWIT_CHECK(request->settings.planted.delay_ns >= 0);
  const auto text = json_text(app::request_json(*request));
  const auto again = app::migration_of(parse_json(text));
  GODWIT_CHECK(again && json_text(app::request_json(*again)) == text);
}

/// What is read of it is written so that the same is read again.
void check_report(const Json& json) {
  const auto report = app::report_of(json);
  (void)app::exit_code_of(report);
  (void)app::report_text(report);
  const auto written = app::report_json(report);
  GODWIT_CHECK(json_text(app::report_json(app::report_of(written))) == json_text(written));
}

void check_answers(const Json& json) {
  (void)app::request_of(json);
  (void)app::answer_of(json);
  GODWIT_CHECK(!app::error_of_json(json).message().empty());
  const auto same = [](const Json& first, const Json& second) {
    GODWIT_CHECK(json_text(first) == json_text(second));
  };
  const auto status = app::status_json(app::status_of(json));
  same(app::status_json(app::status_of(status)), status);
  const auto telemetry = app::telemetry_json(app::telemetry_of(json));
  same(app::telemetry_json(app::telemetry_of(telemetry)), telemetry);
  const auto sweep = app::sweep_json(app::sweep_of(json));
  same(app::sweep_json(app::sweep_of(sweep)), sweep);
  const auto report = app::report_answer_json(app::report_answer_of(json));
  same(app::report_answer_json(app::report_answer_of(report)), report);
  const auto progress = app::progress_json(app::progress_of(json));
  same(app::progress_json(app::progress_of(progress)), progress);
}

}  // namespace

void run_control_line(Bytes input) {
  int ends[2] = {-1, -1};
  GODWIT_CHECK(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  const Fd writer(ends[0]);
  app::ControlConnection reader{Fd(ends[1])};
  const auto size = std::min(input.size(), kInputBytesMax);
  GODWIT_CHECK(::send(writer.get(), input.data(), size, MSG_NOSIGNAL) ==
               static_cast<ssize_t>(size));
  ::shutdown(writer.get(), SHUT_WR);
  for (;;) {
    const auto json = reader.next();
    if (!json) {
      const auto code = json.error().code;
      GODWIT_CHECK(code == ErrorCode::kClosed || code == ErrorCode::kProtocol);
      if (code == ErrorCode::kClosed) {
        return;
      }
      continue;
    }
    // Copying and printing take stack for every level.
    GODWIT_CHECK(depth_of(*json) <= 100);
    GODWIT_CHECK(json_text(*json).find('\n') == std::string::npos);
    check_request(*json);
    check_report(*json);
    check_answers(*json);
  }
}

std::vector<Seed> control_line_seeds() {
  app::MigrationRequest request;
  request.to = "127.0.0.1:4444";
  request.settings.planted.fault = app::PlantedKind::kBlackoutDelay;
  request.settings.planted.delay_ns = 1'000'000;
  const auto migrate = json_text(app::request_json(request)) + "\n";
  // Numbers that no integer holds, and durations that no deadline can be made of.
  const std::string_view numbers =
      "{\"options\":{\"max_rounds\":1e300,\"timeout_ns\":9223372036854775807}}\n";
  const auto nested = "{\"options\":" + std::string(300, '[') + std::string(300, ']') + "}\n";
  const auto report =
      json_text(app::report_json(app::failure_report(
          {}, {}, make_error(ErrorCode::kInvalidArgument, "", "text"), "options"))) +
      "\n";
  const std::string_view timeline =
      "{\"timeline\":{\"touches\":[1]},\"valley\":1e300,\"recovery_ns\":\"soon\"}\n";
  return {{"status", Giver().give_text("{\"command\":\"status\"}\n").done()},
          {"two lines", Giver().give_text("{\"command\":\"stop\"}\n[1,2.5e300]\n").done()},
          {"no json", Giver().give_text("{\"command\":\nnull\n").done()},
          {"migrate", Giver().give_text(migrate).done()},
          {"numbers", Giver().give_text(numbers).done()},
          {"deep", Giver().give_text(nested).done()},
          {"report", Giver().give_text(report).done()},
          {"timeline", Giver().give_text(timeline).done()}};
}

}  // namespace godwit::fuzz
