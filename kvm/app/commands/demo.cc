#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>

#include <fmt/format.h>

#include "cli/exit_code.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/units_text.h"
#include "commands/commands.h"
#include "control/control_socket.h"
#include "control/progress.h"
#include "control/requests.h"
#include "demo/child.h"
#include "demo/directory.h"
#include "demo/injection.h"
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

constexpr std::int64_t kStartTimeoutNs = 60'000'000'000;
constexpr std::int64_t kStopTimeoutNs = 5'000'000'000;
/// After the second Ctrl-C, or for a process that will not stop for the asking.
constexpr std::int64_t kHurriedStopNs = 1'000'000'000;
/// How long the guest runs at the target before it is asked: long enough for steps to be there to
/// tell of.
constexpr int kSettleMs = 200;
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
  Result<Json> migrate();
  void ask_why(Json& report);
  Status verify(Json& report);
  Status verify_target(Json& report);
  Status verify_source(Json& report);
  Status verify_held(Json& report);
  void stop_children();
  int finish(const Json& report, int code);
  int child_failed(DemoChild& child, const Error& error);
  Result<Json> ask(const std::string& control, const char* command, Json request = Json::object());
  void on_interrupt();
  int no_report(const Error& error);
  void pause_ms(int milliseconds) const;
  int write_trace(const Json& report, int code);

  const DemoLine& line_;
  const Signals& signals_;
  vmm::GuestConfig config_;
  engine::Injection injection_;
  std::optional<PrivateDirectory> directory_;  // declared first: outlives the children
  std::optional<NetworkNamespace> source_network_;
  std::optional<NetworkNamespace> target_network_;
  std::optional<DemoChild> target_;
  std::optional<DemoChild> source_;
  /// Asked before the migration how it ends at the target.
  std::unique_ptr<ControlConnection> watch_;
  std::string address_;
  TransportChoice transport_ =
      TransportChoice::kAuto;  ///< what --transport came to, for both children
  Json source_telemetry_;
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
  std::string note;
  GODWIT_TRY_ASSIGN(config_.kind, resolve_kind(line_.guest.choice, note));
  if (!note.empty()) {
    print_to(stderr, note + "\n");
  }
  GODWIT_TRY(vmm::probe_dirty_choice(
      config_.kind, config_.dirty, config_.backing == vmm::Backing::kHugetlb));
  std::string transport_note;
  GODWIT_TRY_ASSIGN(const auto loop, resolve_transport(line_.transport, transport_note));
  if (!transport_note.empty()) {
    print_to(stderr, transport_note + "\n");
  }
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
  GODWIT_TRY_ASSIGN(injection_, plan_injection(config_, line_.migration.planted));
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
  receive.timeout_ns = line_.migration.source.timeout_ns;
  if (!line_.trace.empty()) {
    receive.trace = directory_->target_trace();
  }
  if (injection_.fault == engine::InjectedFault::kDropPage) {
    receive.drop_page = injection_.page;
  }
  receive.skip_register = injection_.fault == engine::InjectedFault::kSkipRegister;
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
  GODWIT_TRY_ASSIGN(const auto reply, ask(directory_->source(), "filled"));
  (void)reply;
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
Result<Json> Demo::ask(const std::string& control, const char* command, Json request) {
  GODWIT_TRY_ASSIGN(const auto connection, ControlConnection::connect(control));
  request["command"] = command;
  GODWIT_TRY(connection->ask(request));
  for (;;) {
    auto reply = connection->next(signals_.fd());
    if (!reply) {
      if (reply.error().code == ErrorCode::kCancelled) {
        on_interrupt();
      }
      return reply;
    }
    const auto type = text_of(*reply, "type");
    if (type == "error") {
      return fail(ErrorCode::kGuest, command, text_of(*reply, "message"));
    }
    if (type != "progress") {
      return reply;
    }
  }
}

/// When the source only saw the link break, the target may know why: a damaged frame breaks the
/// link.
void Demo::ask_why(Json& report) {
  if (text_of(object_of(report, "error"), "code") != error_code_name(ErrorCode::kClosed)) {
    return;
  }
  const auto ended = watch_->next(-1, Deadline::after_ns(kStopTimeoutNs));
  target_told_ = true;
  if (!ended) {
    return;
  }
  const auto error = object_of(*ended, "error");
  if (!error.empty() && text_of(error, "code") != error_code_name(ErrorCode::kClosed)) {
    report["error"] = error;
  }
}

Result<Json> Demo::migrate() {
  GODWIT_TRY_ASSIGN(watch_, ControlConnection::connect(directory_->target()));
  Json settle;
  settle["command"] = "settle";
  settle["attempts"] = 0;  // the first attempt is the one
  GODWIT_TRY(watch_->ask(settle));
  GODWIT_TRY_ASSIGN(const auto connection, ControlConnection::connect(directory_->source()));
  GODWIT_TRY(connection->ask(encode_request({address_, line_.migration, !line_.trace.empty()})));
  ProgressView view;
  for (;;) {
    auto message = connection->next(signals_.fd());
    if (!message && message.error().code == ErrorCode::kCancelled) {
      view.finish();
      on_interrupt();
      // The cancelled migration still reports; the second signal ends the wait for that.
      if (!hurried_) {
        if (auto cancelled = ask(directory_->source(), "cancel"); !cancelled && !hurried_) {
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
    const auto type = text_of(*message, "type");
    if (type == "progress") {
      view.show(*message);
      continue;
    }
    view.finish();
    if (type == "report") {
      source_telemetry_ = object_of(*message, "telemetry");
      if (!line_.trace.empty()) {
        source_trace_ = next_trace(*connection, signals_.fd());
      }
      return object_of(*message, "report");
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

Status Demo::verify_target(Json& report) {
  GODWIT_TRY(ask(directory_->target(), "settle"));
  const auto source_timeline = object_of(source_telemetry_, "timeline");
  auto request = Json::object();
  if (line_.migration.timeline) {
    request["timeline_from"] = number_of(source_timeline, "first");
  }
  pause_ms(line_.migration.timeline ? kTimelineTailMs : kSettleMs);
  GODWIT_TRY_ASSIGN(const auto target, ask(directory_->target(), "telemetry", request));
  merge_target(report, source_telemetry_, target);
  if (line_.migration.timeline) {
    add_timeline(report, source_timeline, object_of(target, "timeline"));
  }
  print_to(stderr, "target: the guest checks every page\n");
  GODWIT_TRY_ASSIGN(const auto sweep, ask(directory_->target(), "sweep"));
  merge_sweep(report, sweep);
  return {};
}

Status Demo::verify_source(Json& report) {
  print_to(stderr, "source: the guest runs on here and checks every page\n");
  GODWIT_TRY_ASSIGN(const auto sweep, ask(directory_->source(), "sweep"));
  merge_sweep(report, sweep);
  return {};
}

/// Nobody gave up: both processes are there, say that they hold, and keep the memory.
Status Demo::verify_held(Json& report) {
  GODWIT_TRY_ASSIGN(const auto source, ask(directory_->source(), "settle"));
  GODWIT_TRY_ASSIGN(const auto target, ask(directory_->target(), "settle"));
  for (const auto* side : {&source, &target}) {
    const auto state = text_of(*side, "state");
    const auto resident = number_of<std::uint64_t>(*side, "resident_bytes");
    const char* name = side == &source ? "source" : "target";
    print_to(stderr,
             fmt::format("{}: {}, {} of guest memory kept\n", name, state, size_text(resident)));
    if ((state != "held" && state != "in-doubt") || resident == 0) {
      return fail(
          ErrorCode::kInternal, name, fmt::format("does not hold: its state is '{}'", state));
    }
    report["held"][name] = *side;
  }
  return {};
}

Status Demo::verify(Json& report) {
  auto& injected = report["injected"];
  if (injection_.fault == engine::InjectedFault::kDropPage) {
    injected["page"] = global_page(config_, injection_.page);
  }
  if (injection_.fault == engine::InjectedFault::kStalePage && !injected["page"].is_number()) {
    print_to(stderr, "demo: no dirty mark could be lost: the guest wrote too little\n");
  }
  ask_why(report);
  const auto outcome = text_of(report, "outcome");
  if (outcome == "completed") {
    return verify_target(report);
  }
  return outcome == "in_doubt" ? verify_held(report) : verify_source(report);
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
      Json request;
      request["command"] = "stop";
      if ((*connection)->ask(request) && !hurried_) {
        const auto reply = (*connection)->next(-1, Deadline::after_ns(kHurriedStopNs));
        if (reply && text_of(*reply, "type") == "error") {
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
int Demo::write_trace(const Json& report, int code) {
  if (!target_told_ && !hurried_) {
    // How long it may take it to notice a source that gave up.
    (void)watch_->next(signals_.fd(), Deadline::after_ns(kStopTimeoutNs));
  }
  auto target = read_trace(directory_->target_trace());
  if (!target && text_of(report, "outcome") != "completed") {
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

int Demo::finish(const Json& report, int code) {
  complain_of_warnings(report);
  print_to(stdout, line_.json ? json_text(report, 2) + "\n" : report_text(report));
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
    failed["outcome"] = "in_doubt";
  }
  return finish(failed, code);
}

/// The exit code when what the report says could not be verified because of `error`.
int unverified_code(const Json& report, const Error& error) {
  if (error.code == ErrorCode::kCancelled) {
    return kExitInterrupted;
  }
  // A side that cannot be asked any more leaves the doubt; one that answers and does not hold is
  // wrong.
  const bool in_doubt = text_of(report, "outcome") == "in_doubt";
  return in_doubt && error.code != ErrorCode::kInternal ? kExitHeld : kExitDamaged;
}

int Demo::run() {
  if (auto status = start(); !status) {
    const auto code = interrupted_        ? static_cast<int>(kExitInterrupted)
                      : failed_code_ != 0 ? failed_code_
                                          : setup_exit_code(status.error());
    stop_children();
    complain(status.error().message());
    if (line_.json) {
      return finish(failure_report(config_, line_.migration, status.error(), "start"), code);
    }
    return code;
  }
  if (line_.warm) {
    // Pages and what goes with them: socket buffers, page tables, KVM's books of the slots.
    if (config_.kind == vmm::GuestKind::kKvm) {
      warm_slots(config_.memory_bytes);
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
    if ((*report)["error"].is_null()) {
      (*report)["error"] = error_json(verified.error());
      (*report)["error"].erase("type");
      (*report)["error"]["side"] = "target";
      (*report)["error"]["phase"] = "verification";
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
