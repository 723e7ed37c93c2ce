#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>

#include <fmt/format.h>

#include "godwit/vmm/damage.h"

#include "cli/advice.h"
#include "cli/exit_code.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/units_text.h"
#include "commands/commands.h"
#include "control/control_socket.h"
#include "control/progress.h"
#include "control/requests.h"
#include "control/timeouts.h"
#include "demo/child.h"
#include "demo/directory.h"
#include "demo/plant.h"
#include "host/capabilities.h"
#include "host/floors.h"
#include "host/huge_pages.h"
#include "host/memory.h"
#include "host/warm.h"
#include "report/gap.h"
#include "report/report_json.h"
#include "report/timeline.h"
#include "report/trace_file.h"
#include "report/trace_json.h"

// Source and target as two real processes on this machine. The demo itself only steers: everything
// goes through the same control sockets that `godwit migrate` uses.

namespace godwit::app {
namespace {

constexpr std::uint64_t kProcessesBytes = 128 * kMiB;
constexpr std::uint64_t kWarmBookShare = 256;  ///< books take up to 16 bytes a page
constexpr std::uint64_t kWarmExtraBytes = 256 * kMiB;

/// The words by which a child process reads `line` from its command line.
template <typename Line>
std::vector<std::string> arguments_of(const char* command,
                                      const OptionTable<Line>& options,
                                      const Line& line) {
  auto words = words_of(options.texts(line));
  words.insert(words.begin(), command);
  return words;
}

class Demo {
 public:
  Demo(const DemoLine& line, const Signals& signals)
      : line_(line), signals_(signals), config_(line.guest.config) {}
  int run();

 private:
  Status check_environment();
  Status start();
  Status start_target();
  Status start_source();
  Status wait_filled();
  Result<Report> migrate();
  void ask_why(Report& report);
  Status verify(Report& report);
  Status verify_target(Report& report);
  Status verify_source(Report& report);
  Status verify_held(Report& report);
  void stop_children();
  int finish(const Report& report, int code);
  int child_failed(DemoChild& child, const Error& error);
  Result<Json> ask(const std::string& control, Request request);
  Result<Json> ask(const std::string& control, Request request, const Json& message);
  void on_interrupt();
  int no_report(const Error& error);
  void pause_ms(int milliseconds) const;
  int write_trace(const Report& report, int code);

  const DemoLine& line_;
  const Signals& signals_;
  vmm::GuestConfig config_;
  Plant plant_;
  std::optional<PrivateDirectory> directory_;  // declared first: outlives the children
  std::optional<NetworkNamespace> source_network_;
  std::optional<NetworkNamespace> target_network_;
  std::optional<DemoChild> target_;
  std::optional<DemoChild> source_;
  /// Asked before the migration how it ends at the target.
  std::unique_ptr<ControlConnection> watch_;
  std::string address_;
  /// What --transport came to, for both children.
  TransportChoice transport_ = TransportChoice::kAuto;
  ReportAnswer source_told_;
  Result<Json> source_trace_ = Json::object();
  bool target_told_ = false;  ///< by watch_
  bool interrupted_ = false;
  bool hurried_ = false;  ///< interrupted once more: nothing is waited for any longer
  int failed_code_ = 0;   ///< exit code of a child that could not start
};

// ---------------------------------------------------------------------------------------- starting

Status Demo::check_environment() {
  if (!line_.trace.empty()) {
    GODWIT_TRY(check_trace_path(line_.trace));
  }
  GODWIT_TRY_ASSIGN(config_.kind, announce_kind(line_.guest.choice));
  GODWIT_TRY(vmm::probe_dirty_choice(
      config_.kind, config_.dirty, config_.backing == vmm::Backing::kHugetlb));
  GODWIT_TRY_ASSIGN(const auto loop, announce_transport(line_.transport));
  transport_ = loop == net::LoopKind::kUring ? TransportChoice::kUring : TransportChoice::kPoll;
  const auto mode = line_.migration.source.mode;
  if (mode == engine::Mode::kHybrid || mode == engine::Mode::kPostcopy) {
    if (const auto reason = uffd_unusable_reason(config_.kind, config_.backing); !reason.empty()) {
      return fail(ErrorCode::kUnsupported, "", reason);
    }
  }
  const bool huge_pages = config_.backing == vmm::Backing::kHugetlb;
  if (huge_pages) {  // each side reserves all of its guest's memory
    GODWIT_TRY(check_huge_pages(2 * config_.memory_bytes, "source and target together need"));
  }
  const auto target =
      line_.migration.source.prealloc ? config_.memory_bytes : config_.populated_bytes;
  // Floors are measured and their memory is given back before the target gets any.
  const auto floors = line_.migration.floors ? floors_memory_bytes(config_) : 0;
  const auto needed =
      kProcessesBytes + (huge_pages ? floors : config_.populated_bytes + std::max(target, floors));
  if (const auto available = available_memory(); available < needed) {
    return fail(
        ErrorCode::kNoMemory,
        "memory",
        fmt::format("source and target together need {}, {} are available; choose a smaller "
                    "--memory or --populated{}",
                    size_text(needed),
                    size_text(available),
                    floors > target ? ", or leave --floors out" : ""));
  }
  GODWIT_TRY_ASSIGN(plant_, plan_plant(config_, line_.migration.planted));
  return {};
}

Status Demo::start() {
  GODWIT_TRY(check_environment());
  GODWIT_TRY_ASSIGN(auto source_network,
                    NetworkNamespace::open(line_.source_netns, "--source-netns"));
  GODWIT_TRY_ASSIGN(auto target_network,
                    NetworkNamespace::open(line_.target_netns, "--target-netns"));
  source_network_.emplace(std::move(source_network));
  target_network_.emplace(std::move(target_network));
  GODWIT_TRY_ASSIGN(auto directory, PrivateDirectory::create());
  directory_.emplace(std::move(directory));
  GODWIT_TRY(start_target());
  GODWIT_TRY(start_source());
  return wait_filled();
}

Status Demo::start_target() {
  ReceiveLine receive;
  receive.control = directory_->target();
  receive.listen = line_.listen;
  receive.transport = transport_;
  receive.congestion = line_.migration.congestion;
  receive.cpu_priority = line_.migration.source.cpu_priority;
  receive.timeout_ns = line_.migration.source.timeout_ns;
  receive.recover_for_ns = recover_for(line_.migration);
  receive.stall_ns = line_.migration.source.stall_ns;
  if (!line_.trace.empty()) {
    receive.trace = directory_->target_trace();
  }
  if (plant_.fault == PlantedKind::kDropPage) {
    receive.drop_page = plant_.page;
  }
  receive.skip_register = plant_.fault == PlantedKind::kSkipRegister;
  const auto arguments = arguments_of("receive", receive_options(), receive);
  GODWIT_TRY_ASSIGN(auto child, DemoChild::start(arguments, *target_network_));
  target_.emplace(std::move(child));
  auto address = target_->first_line(signals_.fd(), Deadline::after_ns(kStartTimeoutNs));
  if (!address) {
    failed_code_ = child_failed(*target_, address.error());
    return fail(address.error());
  }
  address_ = *address;
  return {};
}

Status Demo::start_source() {
  RunLine run{directory_->source(), line_.guest, transport_};
  run.guest.choice =
      config_.kind == vmm::GuestKind::kKvm ? GuestChoice::kKvm : GuestChoice::kProcess;
  const auto arguments = arguments_of("run", run_options(), run);
  GODWIT_TRY_ASSIGN(auto child, DemoChild::start(arguments, *source_network_));
  source_.emplace(std::move(child));
  auto ready = source_->first_line(signals_.fd(), Deadline::after_ns(kStartTimeoutNs));
  if (!ready) {
    failed_code_ = child_failed(*source_, ready.error());
    return fail(ready.error());
  }
  return {};
}

int Demo::child_failed(DemoChild& child, const Error& error) {
  if (error.code == ErrorCode::kCancelled) {
    interrupted_ = true;
    return kExitInterrupted;
  }
  const auto code = child.wait(Deadline::after_ns(kStopTimeoutNs));
  return code == kExitUsage ? kExitUsage : kExitEnvironment;
}

Status Demo::wait_filled() {
  print_to(stderr,
           fmt::format("source: filling {} of guest memory\n", size_text(config_.populated_bytes)));
  GODWIT_TRY(ask(directory_->source(), Request::kFilled));
  return {};
}

// ----------------------------------------------------------------------------------------- talking

void Demo::on_interrupt() {
  signals_.take();
  hurried_ = interrupted_;
  interrupted_ = true;
  complain(hurried_ ? "interrupted again" : "interrupted");
}

/// Asks one thing and waits for its answer; lines of type "progress" are skipped.
Result<Json> Demo::ask(const std::string& control, Request request, const Json& message) {
  GODWIT_TRY_ASSIGN(const auto connection, ControlConnection::connect(control));
  GODWIT_TRY(connection->ask(message));
  for (;;) {
    auto reply = connection->next(signals_.fd());
    if (!reply) {
      if (reply.error().code == ErrorCode::kCancelled) {
        on_interrupt();
      }
      return reply;
    }
    const auto type = answer_of(*reply);
    if (type == Answer::kError) {
      return fail(
          ErrorCode::kGuest, kRequestNames.name_of(request), error_of_json(*reply).message());
    }
    if (type != Answer::kProgress) {
      return reply;
    }
  }
}

Result<Json> Demo::ask(const std::string& control, Request request) {
  return ask(control, request, request_json(request));
}

/// When the source only saw the link break, the target may know why: a damaged frame breaks the
/// link.
void Demo::ask_why(Report& report) {
  const auto broken = [](const engine::EndError& end) {
    return end.error.code == ErrorCode::kClosed;
  };
  const bool waits =
      report.outcome == engine::Outcome::kInDoubt && recover_for(line_.migration) != 0;
  if (!report.error || !broken(*report.error) || waits) {
    return;  // a target that waits for its source has not ended
  }
  const auto ended = watch_->next(-1, Deadline::after_ns(kStopTimeoutNs));
  target_told_ = true;
  if (!ended) {
    return;
  }
  if (auto target = status_of(*ended); target.error && !broken(*target.error)) {
    report.error = std::move(target.error);
  }
}

Result<Report> Demo::migrate() {
  GODWIT_TRY_ASSIGN(watch_, ControlConnection::connect(directory_->target()));
  const SettleRequest first_attempt{.attempts = 0};
  GODWIT_TRY(watch_->ask(request_json(first_attempt)));
  GODWIT_TRY_ASSIGN(const auto connection, ControlConnection::connect(directory_->source()));
  const MigrationRequest request{address_, line_.migration, !line_.trace.empty()};
  GODWIT_TRY(connection->ask(request_json(request)));
  ProgressView view;
  for (;;) {
    auto message = connection->next(signals_.fd());
    if (!message && message.error().code == ErrorCode::kCancelled) {
      view.finish();
      on_interrupt();
      // The cancelled migration still reports; the second signal ends the wait for that.
      if (!hurried_) {
        if (auto cancelled = ask(directory_->source(), Request::kCancel); !cancelled && !hurried_) {
          complain(cancelled.error().message());
        }
      }
      if (hurried_) {
        return fail(ErrorCode::kCancelled, "demo", "both processes are ended");
      }
      continue;
    }
    if (!message) {
      view.finish();
      return fail(message.error());
    }
    const auto type = answer_of(*message);
    if (type == Answer::kProgress) {
      view.show(progress_of(*message));
      continue;
    }
    view.finish();
    if (type == Answer::kReport) {
      source_told_ = report_answer_of(*message);
      if (!line_.trace.empty()) {
        source_trace_ = next_trace(*connection, signals_.fd());
      }
      return report_of(source_told_.report);
    }
    return fail(error_of_json(*message));
  }
}

void Demo::pause_ms(int milliseconds) const {
  // Waits in poll(), so that a Ctrl-C ends it.
  pollfd polled{signals_.fd(), POLLIN, 0};
  (void)::poll(&polled, 1, milliseconds);
}

// --------------------------------------------------------------------------------------- verifying

Status Demo::verify_target(Report& report) {
  GODWIT_TRY(ask(directory_->target(), Request::kSettle));
  const auto& timeline = source_told_.timeline;
  TelemetryRequest request;
  if (timeline) {
    request.timeline_from = timeline->seen.first;
  }
  pause_ms(timeline ? kTimelineTailMs : kSettleMs);
  GODWIT_TRY_ASSIGN(const auto telemetry,
                    ask(directory_->target(), Request::kTelemetry, request_json(request)));
  const auto target = telemetry_of(telemetry);
  add_target(report, source_told_, target);
  if (timeline) {
    add_timeline(report, *timeline, target.timeline.value_or(vmm::Throughput()));
  }
  print_to(stderr, "target: the guest checks every page\n");
  GODWIT_TRY_ASSIGN(const auto sweep, ask(directory_->target(), Request::kSweep));
  add_sweep(report, sweep_of(sweep));
  return {};
}

Status Demo::verify_source(Report& report) {
  print_to(stderr, "source: the guest runs on here and checks every page\n");
  GODWIT_TRY_ASSIGN(const auto sweep, ask(directory_->source(), Request::kSweep));
  add_sweep(report, sweep_of(sweep));
  return {};
}

/// Says what a side keeps that neither runs the guest nor gives it up.
Result<StatusAnswer> check_held(const char* side, StatusAnswer status) {
  const auto resident = status.resident_bytes.value_or(0);
  const bool empty = resident == 0 && status.missing_pages.value_or(0) == 0;
  print_to(
      stderr,
      fmt::format("{}: {}, {} of guest memory kept\n", side, status.state, size_text(resident)));
  // A target that still waits for its source runs its guest on what it has.
  const bool waits = status.state == "running" && status.missing_pages.value_or(0) > 0;
  if (!waits && ((status.state != "held" && status.state != "in-doubt") || empty)) {
    return fail(
        ErrorCode::kInternal, side, fmt::format("does not hold: its state is '{}'", status.state));
  }
  return status;
}

/// Nobody gave up: both processes are there, say that they hold, and keep the memory.
Status Demo::verify_held(Report& report) {
  GODWIT_TRY_ASSIGN(const auto source, ask(directory_->source(), Request::kSettle));
  const bool waits = recover_for(line_.migration) != 0;
  GODWIT_TRY_ASSIGN(const auto target,
                    ask(directory_->target(), waits ? Request::kStatus : Request::kSettle));
  GODWIT_TRY_ASSIGN(const auto source_status, check_held("source", status_of(source)));
  report.held.emplace().source = source_status;
  GODWIT_TRY_ASSIGN(report.held->target, check_held("target", status_of(target)));
  return {};
}

Status Demo::verify(Report& report) {
  if (plant_.fault == PlantedKind::kDropPage && report.planted) {
    report.planted->page = vmm::global_page(config_, plant_.page);
  }
  if (plant_.fault == PlantedKind::kStalePage && report.planted && !report.planted->page) {
    print_to(stderr, "demo: no dirty mark could be lost: the guest wrote too little\n");
  }
  ask_why(report);
  switch (report.outcome) {
    case engine::Outcome::kCompleted:
      return verify_target(report);
    case engine::Outcome::kInDoubt:
      return verify_held(report);
    default:
      return verify_source(report);
  }
}

// ------------------------------------------------------------------------------------------ ending

void Demo::stop_children() {
  // The source ends by itself after a completed migration; whoever does not answer is killed.
  for (const bool at_source : {true, false}) {
    auto& child = at_source ? source_ : target_;
    if (!child) {
      continue;
    }
    auto connection =
        ControlConnection::connect(at_source ? directory_->source() : directory_->target());
    if (connection) {
      if ((*connection)->ask(request_json(Request::kStop)) && !hurried_) {
        const auto reply = (*connection)->next(-1, Deadline::after_ns(kHurriedStopNs));
        if (reply && answer_of(*reply) == Answer::kError) {
          child->terminate();  // it keeps a guest that others rely on; the demo's end is their end
        }
      }
    } else {
      child->terminate();  // still starting: no guest yet, and nobody to ask
    }
    child->wait(Deadline::after_ns(hurried_ ? kHurriedStopNs : kStopTimeoutNs));
    child.reset();
  }
}

/// Both sides in one file. The target has written its part before it told of the migration's end.
int Demo::write_trace(const Report& report, int code) {
  if (!target_told_ && !hurried_) {
    // How long it may take it to notice a source that gave up.
    (void)watch_->next(signals_.fd(), Deadline::after_ns(kStopTimeoutNs));
  }
  auto target = read_trace(directory_->target_trace());
  if (!target && report.outcome != engine::Outcome::kCompleted) {
    target = Json::object();  // a migration that ended early may never have reached it
  }
  if (!target) {
    complain(target.error().message());
    return code == kExitOk ? static_cast<int>(kExitEnvironment) : code;
  }
  if (source_trace_) {
    source_trace_ = merge_traces(std::move(*source_trace_), *target);
  }
  return keep_trace(line_.trace, source_trace_, code);
}

int Demo::finish(const Report& report, int code) {
  complain_of_warnings(report);
  print_report(report, line_.json);
  return finish_output(code);
}

/// The migration began, and its source told nothing of its end.
int Demo::no_report(const Error& error) {
  complain(error.message());
  const bool gone = error.code == ErrorCode::kClosed;  // and with it who knew
  const bool refused = error.code == ErrorCode::kState || error.code == ErrorCode::kRefused;
  const auto code = interrupted_ ? static_cast<int>(kExitInterrupted)
                    : gone       ? static_cast<int>(kExitHeld)
                    : refused    ? static_cast<int>(kExitFailed)
                                 : setup_exit_code(error);
  if (!line_.json) {
    return code;
  }
  auto failed = failure_report(config_, line_.migration, error, gone ? "unknown" : "request");
  if (gone) {
    failed.outcome = engine::Outcome::kInDoubt;
  }
  return finish(failed, code);
}

/// The exit code when what the report says could not be verified because of `error`.
int unverified_code(const Report& report, const Error& error) {
  if (error.code == ErrorCode::kCancelled) {
    return kExitInterrupted;
  }
  // A side that cannot be asked any more leaves the doubt; one that answers and does not hold is
  // wrong.
  const bool in_doubt = report.outcome == engine::Outcome::kInDoubt;
  return in_doubt && error.code != ErrorCode::kInternal ? kExitHeld : kExitDamaged;
}

int Demo::run() {
  if (auto status = start(); !status) {
    const auto code = interrupted_        ? static_cast<int>(kExitInterrupted)
                      : failed_code_ != 0 ? failed_code_
                                          : setup_exit_code(status.error());
    stop_children();
    complain(advised(status.error()).message());
    if (line_.json) {
      return finish(failure_report(config_, line_.migration, status.error(), "start"), code);
    }
    return code;
  }
  if (line_.warm) {
    // Pages and what goes with them: socket buffers, page tables, KVM's books of the slots.
    if (config_.kind == vmm::GuestKind::kKvm) {
      warm_slots(config_.memory_bytes, config_.populated_bytes);
    }
    warm_memory(config_.populated_bytes + config_.memory_bytes / kWarmBookShare + kWarmExtraBytes);
  }
  auto report = migrate();
  if (!report) {
    stop_children();
    return no_report(report.error());
  }
  const auto verified = verify(*report);
  auto code = exit_code_of(*report);
  if (!verified) {
    complain(verified.error().message());
    code = unverified_code(*report, verified.error());
    if (!report->error) {
      report->error = {verified.error(), "target", "verification"};
    }
  }
  if (!line_.trace.empty()) {
    code = write_trace(*report, code);
  }
  stop_children();
  if (interrupted_ && code == kExitFailed) {
    code = kExitInterrupted;
  }
  return finish(*report, code);
}

}  // namespace

int demo_command(const DemoLine& line, const Signals& signals) {
  Demo demo(line, signals);
  return demo.run();
}

}  // namespace godwit::app
