#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <variant>

#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>

#include "godwit/json/json.h"

#include "cli/command_line.h"
#include "cli/exit_code.h"
#include "cli/output.h"
#include "cli/signals.h"
#include "commands/commands.h"
#include "report/report_json.h"

namespace godwit::app {
namespace {

/// stderr, for which no thread waits: a guest must not stand still for a log that nobody reads.
class StderrSink final : public spdlog::sinks::base_sink<std::mutex> {
 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t line;
    formatter_->format(message, line);
    write_stderr({line.data(), line.size()}, 0);
  }
  void flush_() override {}
};

/// The library logs to this logger and to no other; everything goes to stderr, since stdout is for
/// results.
void set_up_logging() {
  auto logger = std::make_shared<spdlog::logger>("godwit", std::make_shared<StderrSink>());
  spdlog::register_logger(logger);
  logger->set_pattern("%H:%M:%S.%e %^%l%$ %v");
  logger->set_level(spdlog::level::warn);
  if (const char* level = std::getenv("GODWIT_LOG"); level != nullptr) {
    logger->set_level(spdlog::level::from_str(level));
  }
}

int report_usage(const ParsedCommandLine& parsed) {
  if (parsed.exit_code == 0) {
    print_to(stdout, parsed.message);
    return finish_output(kExitOk);
  }
  complain(parsed.message + "\nTry 'godwit --help' or 'godwit COMMAND --help'.");
  if (parsed.json) {
    const auto error = make_error(ErrorCode::kInvalidArgument, "", parsed.message);
    print_report(failure_report({}, {}, error, "options"), true);
  }
  return parsed.exit_code;
}

/// Runs the command of each kind of line.
struct Dispatch {
  const Signals& signals;

  int operator()(const RunLine& line) const { return run_command(line, signals); }
  int operator()(const ReceiveLine& line) const { return receive_command(line, signals); }
  int operator()(const MigrateLine& line) const { return migrate_command(line, signals); }
  int operator()(const RecoverLine& line) const { return recover_command(line, signals); }
  int operator()(const ClientLine& line) const { return client_command(line, signals); }
  int operator()(const DemoLine& line) const { return demo_command(line, signals); }
};

int run(int argc, char** argv) {
  set_up_logging();
  const auto parsed = parse_command_line(argc, argv);
  if (!parsed.line) {
    return report_usage(parsed);
  }
  // Before the first thread: all of them inherit the signal mask.
  const auto signals = Signals::create();
  if (!signals) {
    complain(signals.error().message());
    return kExitEnvironment;
  }
  return std::visit(Dispatch{*signals}, *parsed.line);
}

}  // namespace
}  // namespace godwit::app

int main(int argc, char** argv) {
  return godwit::app::run(argc, argv);
}
