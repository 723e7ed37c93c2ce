#include <cstdio>

#include <fmt/format.h>

#include "cli/exit_code.h"
#include "cli/output.h"
#include "cli/units_text.h"
#include "commands/commands.h"
#include "control/control_socket.h"
#include "report/report_json.h"

namespace godwit::app {
namespace {

constexpr std::int64_t kClientTimeoutNs = 10'000'000'000;

void print_status(const Json& reply) {
  auto line = text_of(reply, "state");
  if (const auto phase = text_of(reply, "phase"); !phase.empty()) {
    line += fmt::format(" ({})", phase);
  }
  for (const char* name : {"kind", "workload", "reason"}) {
    if (const auto text = text_of(reply, name); !text.empty()) {
      line += fmt::format(", {} {}", name, text);
    }
  }
  if (reply.contains("memory_bytes")) {
    line += fmt::format(", {} of {} allocated",
                        size_text(number_of<std::uint64_t>(reply, "resident_bytes")),
                        size_text(number_of<std::uint64_t>(reply, "memory_bytes")));
  }
  if (const auto missing = number_of(reply, "missing_pages"); missing > 0) {
    line += fmt::format(", {} pages still at the source", missing);
  }
  print_to(stdout, line + "\n");
}

Result<Json> ask(const ClientLine& line, const Signals& signals) {
  GODWIT_TRY_ASSIGN(const auto connection, ControlConnection::connect(line.control));
  Json request;
  request["command"] = line.command;
  GODWIT_TRY(connection->ask(request));
  GODWIT_TRY_ASSIGN(auto reply,
                    connection->next(signals.fd(), Deadline::after_ns(kClientTimeoutNs)));
  return reply;
}

}  // namespace

int client_command(const ClientLine& line, const Signals& signals) {
  const auto reply = ask(line, signals);
  if (!reply) {
    complain(reply.error().message());
    if (line.json) {
      print_to(stdout, json_text(error_json(reply.error())) + "\n");
    }
    return reply.error().code == ErrorCode::kCancelled ? kExitInterrupted : kExitEnvironment;
  }
  if (line.json) {
    print_to(stdout, json_text(*reply) + "\n");
  }
  if (text_of(*reply, "type") == "error") {
    complain(text_of(*reply, "message"));
    return kExitFailed;
  }
  if (!line.json && line.command == "status") {
    print_status(*reply);
  }
  return finish_output(kExitOk);
}

}  // namespace godwit::app
