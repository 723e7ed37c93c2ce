#include "service/guest_service.h"

#include <algorithm>
#include <chrono>

#include <fmt/format.h>

#include "godwit/base/clock.h"
#include "godwit/base/log.h"
#include "godwit/base/thread.h"
#include "godwit/net/transport.h"

#include "demo/injection.h"
#include "host/capabilities.h"
#include "host/memory.h"
#include "report/timeline.h"

namespace godwit::app {
namespace {

constexpr auto kProgressInterval = std::chrono::milliseconds(100);
/// A little more than a timeline shows of the time before.
constexpr auto kBeforeTimeline = std::chrono::milliseconds(250);
constexpr int kSamplesAProgress = 20;  ///< with a trace
constexpr auto kFillInterval = std::chrono::milliseconds(20);
constexpr std::int64_t kSweepBaseNs = 60'000'000'000;
/// A sweep slower than this is stuck. Units: bytes/s.
constexpr std::uint64_t kSweepRateMin = 32 * kMiB;

Json reply() {
  Json json;
  json["type"] = "reply";
  return json;
}

tl::unexpected<Error> refuse(std::string why) {
  return fail(ErrorCode::kState, "", std::move(why));
}

void answer(ControlConnection& connection, const Result<Json>& result) {
  // Whoever asked may be gone: then nobody misses the answer.
  [[maybe_unused]] const auto sent = connection.send(result ? *result : error_json(result.error()));
}

/// How long a step of the slowest vCPU took on average while the guest was being migrated.
std::int64_t mean_step_ns(const vmm::GuestTelemetry& before, const vmm::GuestTelemetry& after) {
  std::int64_t longest = 0;
  for (std::size_t i = 0; i < before.vcpus.size() && i < after.vcpus.size(); ++i) {
    const auto steps = after.vcpus[i].steps - before.vcpus[i].steps;
    if (steps > 0) {
      const auto elapsed = after.vcpus[i].last_step_ns - before.vcpus[i].last_step_ns;
      longest = std::max(longest, elapsed / static_cast<std::int64_t>(steps));
    }
  }
  return longest;
}

std::uint64_t total_steps(const vmm::GuestTelemetry& telemetry) {
  std::uint64_t steps = 0;
  for (const auto& vcpu : telemetry.vcpus) {
    steps += vcpu.steps;
  }
  return steps;
}

Json progress_json(const engine::Progress& progress) {
  Json json;
  json["type"] = "progress";
  json["phase"] = progress.phase;
  json["round"] = progress.round;
  json["sent_pages"] = progress.sent_pages;
  json["remaining_pages"] = progress.remaining_pages;
  json["bytes_per_s"] = progress.bytes_per_s;
  json["eta_ns"] = progress.eta_ns;
  return json;
}

}  // namespace

bool guest_depends_on(const engine::TargetSession& session) {
  const auto state = session.state();
  return state == engine::TargetState::kReady ||
         (state == engine::TargetState::kRunning && session.missing_pages() > 0);
}

Result<std::unique_ptr<GuestService>> GuestService::create(TransportChoice transport) {
  GODWIT_TRY_ASSIGN(auto event, EventFd::create());
  return std::unique_ptr<GuestService>(new GuestService(std::move(event), transport));
}

GuestService::~GuestService() = default;

void GuestService::adopt(std::unique_ptr<vmm::Guest> guest) {
  const std::lock_guard lock(mutex_);
  guest_ = std::move(guest);
  incoming_ = nullptr;
  changed_.notify_all();
}

void GuestService::set_incoming(engine::TargetSession* session) {
  const std::lock_guard lock(mutex_);
  incoming_ = session;
  incoming_ended_ = false;
}

void GuestService::incoming_ended() {
  const std::lock_guard lock(mutex_);
  incoming_ended_ = true;
  changed_.notify_all();
}

void GuestService::attempt_failed(const std::optional<engine::EndError>& why,
                                  engine::TargetSession* next) {
  const std::lock_guard lock(mutex_);
  incoming_ = next;
  ++attempts_failed_;
  last_failure_ = why;
  changed_.notify_all();
}

GuestService::End GuestService::end() const {
  const std::lock_guard lock(mutex_);
  return end_;
}

void GuestService::signal_end(End end) {
  const std::lock_guard lock(mutex_);
  end_ = end;
  end_event_.signal();
}

void GuestService::shut_down() {
  const std::lock_guard lock(mutex_);
  shutting_down_ = true;
  cancel_early_ = true;
  if (outgoing_) {
    outgoing_->session->request_cancel();
  }
  if (busy_ == Busy::kSweep && guest_) {
    guest_->stop();  // the sweep returns; no migration runs, and the process ends anyway
  }
  changed_.notify_all();
}

void GuestService::stop_guest() {
  const std::lock_guard lock(mutex_);
  if (guest_) {
    guest_->stop();
  }
}

// ---------------------------------------------------------------------------------------- requests

void GuestService::handle(const Json& request, ControlConnection& connection) {
  const auto command = text_of(request, "command");
  if (command == "status") {
    answer(connection, status());
  } else if (command == "migrate") {
    if (auto done = migrate(request, connection); !done) {
      answer(connection, fail(std::move(done.error())));
    }
  } else if (command == "filled") {
    answer(connection, wait_filled(connection));
  } else if (command == "settle") {
    answer(connection, settle(request));
  } else if (command == "telemetry") {
    answer(connection, telemetry(request));
  } else if (command == "sweep") {
    answer(connection, sweep());
  } else if (command == "switch") {
    answer(connection, request_switch());
  } else if (command == "cancel") {
    answer(connection, cancel());
  } else if (command == "stop") {
    answer(connection, stop());
    if (end() == End::kStopped) {
      end_event_.signal();
    }
  } else {
    answer(connection, refuse(fmt::format("unknown command '{}'", command)));
  }
}

Json GuestService::incoming_status(const engine::TargetSession& session) {
  auto json = reply();
  const auto state = session.state();
  const char* name = "receiving";
  if (state == engine::TargetState::kListening) {
    name = "waiting";
  } else if (state == engine::TargetState::kRunning || state == engine::TargetState::kCompleted) {
    name = "running";
  } else if (state == engine::TargetState::kSuspended) {
    name = "held";
  } else if (state == engine::TargetState::kInDoubt) {
    name = "in-doubt";
  } else if (state == engine::TargetState::kFailed || state == engine::TargetState::kCancelled) {
    name = "failed";
  }
  json["state"] = name;
  json["phase"] = engine::to_string(state);
  json["missing_pages"] = session.missing_pages();
  if (session.ended()) {
    if (const auto end = session.error()) {
      json["reason"] = end->error.message();
      json["error"] = end_error_json(end);
    }
  }
  // The machine is made and dropped by the session's own thread; it is certain to stay only in
  // these states.
  if (state == engine::TargetState::kSuspended || state == engine::TargetState::kInDoubt) {
    if (const auto* guest = session.guest(); guest != nullptr) {
      json["memory_bytes"] = guest->memory().page_count() * kPageBytes;
      json["resident_bytes"] = allocated_bytes(guest->memory());
    }
  }
  return json;
}

Json GuestService::status() {
  const std::lock_guard lock(mutex_);
  if (incoming_ != nullptr) {
    auto json = incoming_status(*incoming_);
    json["failed_attempts"] = attempts_failed_;
    if (last_failure_ && !incoming_->ended()) {
      json["reason"] = last_failure_->error.message();
      json["error"] = end_error_json(last_failure_);
    }
    return json;
  }
  auto json = reply();
  if (!guest_) {
    json["state"] = "none";
    return json;
  }
  const auto& config = guest_->config();
  json["state"] = held_ ? "held" : end_ == End::kMigratedAway ? "migrated-away" : "running";
  if (outgoing_ && !held_) {
    json["state"] = "migrating";
  }
  if (outgoing_) {
    const auto progress = outgoing_->session->progress();
    json["phase"] = progress.phase;
    json["round"] = progress.round;
    json["remaining_pages"] = progress.remaining_pages;
  }
  json["kind"] = vmm::kind_name(config.kind);
  json["vcpus"] = config.vcpus;
  json["workload"] = vmm::workload_name(config.workload);
  json["dirty_source"] = vmm::dirty_choice_name(config.dirty);
  json["memory_bytes"] = config.memory_bytes;
  json["resident_bytes"] = allocated_bytes(guest_->memory());
  json["filled"] = guest_->filled();
  const auto told = guest_->telemetry();
  json["steps"] = total_steps(told);
  json["guest_errors"] = told.guest_errors;
  return json;
}

Result<Json> GuestService::wait_filled(ControlConnection& connection) {
  std::unique_lock lock(mutex_);
  for (;;) {
    if (shutting_down_ || !guest_) {
      return refuse(shutting_down_ ? "this process ends" : "no guest has been started here");
    }
    const auto filled = guest_->filled();
    const auto told = guest_->telemetry();
    if (!filled && told.guest_errors > 0) {
      return fail(ErrorCode::kGuest, "guest", told.first_error);
    }
    Json json;
    json["type"] = filled ? "reply" : "progress";
    json["phase"] = "fill";
    json["resident_bytes"] = allocated_bytes(guest_->memory());
    if (filled) {
      return json;
    }
    lock.unlock();
    GODWIT_TRY(connection.send(json));
    lock.lock();
    // The guest tells nobody that it has filled its memory, so it is asked now and then.
    changed_.wait_for(lock, kFillInterval);
  }
}

bool GuestService::settled() const {
  const bool arriving = incoming_ != nullptr && !incoming_ended_;
  return shutting_down_ || (!arriving && busy_ != Busy::kMigration);
}

void GuestService::wait_settled(std::unique_lock<std::mutex>& lock, std::uint64_t attempts) {
  changed_.wait(lock, [&] { return settled() || attempts_failed_ > attempts; });
}

Result<Json> GuestService::settle(const Json& request) {
  {
    std::unique_lock lock(mutex_);
    wait_settled(lock, number_of<std::uint64_t>(request, "attempts", attempts_failed_));
  }
  return status();
}

Result<vmm::Guest*> GuestService::begin(Busy what) {
  std::unique_lock lock(mutex_);
  if (what == Busy::kSweep) {
    wait_settled(lock, attempts_failed_);
  }
  if (shutting_down_ || end_ != End::kNone) {
    return refuse("this process ends");
  }
  if (incoming_ != nullptr) {
    return refuse(
        incoming_->state() == engine::TargetState::kListening
            ? "no guest has arrived here yet"
            : "the guest is still arriving here; wait until `godwit status` says running");
  }
  if (!guest_) {
    return refuse("there is no guest here");
  }
  if (held_) {
    return refuse("the guest is held after a broken migration: it does not run here");
  }
  if (busy_ != Busy::kNo) {
    return refuse(busy_ == Busy::kSweep ? "a sweep is running" : "a migration is running");
  }
  busy_ = what;
  cancel_early_ = false;
  return guest_.get();
}

void GuestService::finish_busy() {
  const std::lock_guard lock(mutex_);
  busy_ = Busy::kNo;
  changed_.notify_all();
}

Result<Json> GuestService::telemetry(const Json& request) {
  std::shared_ptr<vmm::Guest> guest;
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this, attempts = attempts_failed_] {
      return shutting_down_ || incoming_ == nullptr || incoming_ended_ ||
             attempts_failed_ > attempts;
    });
    guest = guest_;
  }
  if (!guest) {
    return refuse("there is no guest here, or it is held");
  }
  auto json = reply();
  json["telemetry"] = telemetry_json(guest->telemetry());
  if (request.contains("timeline_from")) {
    json["timeline"] = timeline_since(*guest, number_of(request, "timeline_from"));
  }
  const auto memory = process_memory(guest->memory());
  json["overhead_bytes"] = memory.overhead;
  json["page_table_bytes"] = memory.page_tables;
  return json;
}

Result<Json> GuestService::sweep() {
  GODWIT_TRY_ASSIGN(auto* guest, begin(Busy::kSweep));
  const auto allowance = static_cast<std::int64_t>(guest->config().memory_bytes / kSweepRateMin);
  const auto result = guest->sweep(Deadline::after_ns(kSweepBaseNs + allowance * 1'000'000'000));
  auto json = reply();
  json["telemetry"] = telemetry_json(guest->telemetry());
  finish_busy();
  if (!result) {
    return fail(result.error());
  }
  json["sweep"] = sweep_json(*result);
  return json;
}

Result<Json> GuestService::request_switch() {
  const std::lock_guard lock(mutex_);
  if (!outgoing_ || held_) {
    return refuse("no migration is running");
  }
  outgoing_->session->request_switch();
  return reply();
}

Result<Json> GuestService::cancel() {
  const std::lock_guard lock(mutex_);
  if (busy_ != Busy::kMigration) {
    return refuse("no migration is running");
  }
  cancel_early_ = true;
  changed_.notify_all();
  if (outgoing_ && !outgoing_->session->request_cancel()) {
    return refuse("the migration is committed: it can no longer be cancelled");
  }
  return reply();
}

Result<Json> GuestService::stop() {
  const std::lock_guard lock(mutex_);
  if (outgoing_ && !held_ && !outgoing_->session->request_cancel()) {
    return refuse(
        "the migration is committed and the target still needs pages from here; it ends by itself");
  }
  if (incoming_ != nullptr && guest_depends_on(*incoming_)) {
    return refuse(
        incoming_->state() == engine::TargetState::kReady
            ? std::string("the guest is being handed over to this process; try again")
            : fmt::format("the guest runs here and still needs {} pages from its source; stop it "
                          "when `godwit status` speaks of none, or end this process by a signal, "
                          "which loses the guest",
                          incoming_->missing_pages()));
  }
  end_ = End::kStopped;
  return reply();
}

// --------------------------------------------------------------------------------------- migrating

Status GuestService::migrate(const Json& request, ControlConnection& connection) {
  GODWIT_TRY_ASSIGN(const auto decoded, decode_request(request));
  GODWIT_TRY_ASSIGN(auto* guest, begin(Busy::kMigration));
  auto report = run_migration(decoded, *guest, connection);
  const bool completed = report && text_of((*report)["report"], "outcome") == "completed";
  if (!completed) {
    // Who has the report may ask for the next migration at once.
    finish_busy();
  }
  Json trace;
  if (report) {
    trace = object_of(*report, "trace");
    report->erase("trace");
  }
  answer(connection, report);
  if (!trace.empty()) {
    // After the report, which must get through to a client that reads slowly.
    Json message;
    message["type"] = "trace";
    message["trace"] = std::move(trace);
    [[maybe_unused]] const auto sent = connection.send(message);
  }
  if (completed) {
    // The report goes out before anything tells this process to end; and a guest that is gone must
    // not be found free by the next request.
    const std::lock_guard lock(mutex_);
    end_ = End::kMigratedAway;
    busy_ = Busy::kNo;
    changed_.notify_all();
    end_event_.signal();
  }
  return {};
}

void GuestService::wait_before_timeline() {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, kBeforeTimeline, [this] { return cancel_early_; });
}

Result<Json> GuestService::run_migration(const MigrationRequest& request,
                                         vmm::Guest& guest,
                                         ControlConnection& connection) {
  ReportInput input;
  input.config = guest.config();
  input.settings = request.settings;
  GODWIT_TRY_ASSIGN(const auto address, net::parse_endpoint(request.to));
  std::string note;  // said when the process started; the report names the transport as well
  GODWIT_TRY_ASSIGN(const auto loop,
                    resolve_transport(request.settings.transport.value_or(transport_), note));
  auto options = request.settings.source;
  GODWIT_TRY_ASSIGN(options.injection, plan_injection(guest.config(), request.settings.planted));
  auto outgoing = std::make_shared<Outgoing>();
  GODWIT_TRY_ASSIGN(outgoing->transport,
                    net::make_transport(loop,
                                        {.peer = address,
                                         .congestion = request.settings.congestion,
                                         .max_bandwidth = options.max_bandwidth,
                                         .bulk_connections = options.channels}));
  if (request.settings.floors) {
    engine::Progress floors;
    floors.phase = "Floors";
    [[maybe_unused]] const auto sent = connection.send(progress_json(floors));
    GODWIT_TRY_ASSIGN(input.floors, measure_floors(guest, request.settings.congestion));
  }
  if (request.settings.timeline) {
    wait_before_timeline();
  }
  outgoing->session = std::make_unique<engine::SourceSession>(guest, *outgoing->transport, options);
  guest.reset_stall();
  const auto before = guest.telemetry();
  const auto cpu_began = process_cpu_ns();
  {
    const std::lock_guard lock(mutex_);
    outgoing_ = outgoing;
    outgoing->session->start();
    if (cancel_early_) {
      outgoing->session->request_cancel();
    }
  }
  const auto samples = report_progress(*outgoing->session, connection, request.trace);
  input.migration = outgoing->session->wait();
  input.cpu_ns = process_cpu_ns() - cpu_began;
  input.memory = process_memory(guest.memory());
  input.telemetry = guest.telemetry();
  if (options.injection.fault == engine::InjectedFault::kFlipBit &&
      !input.migration.injected_page) {
    input.migration.injected_page = options.injection.page;
  }
  conclude(outgoing);
  Json json;
  json["type"] = "report";
  json["report"] = make_report(input);
  json["telemetry"] = telemetry_json(input.telemetry);
  json["telemetry"]["mean_step_ns"] = mean_step_ns(before, input.telemetry);
  if (request.settings.timeline) {
    auto timeline = source_timeline(guest, input.migration);
    add_timeline(json["report"], timeline);
    json["telemetry"]["timeline"] = std::move(timeline);
  }
  if (request.trace) {
    json["trace"] = source_trace_json(input.migration, samples.taken());
  }
  return json;
}

ProgressSamples GuestService::report_progress(engine::SourceSession& session,
                                              ControlConnection& connection,
                                              bool trace) {
  ProgressSamples samples;
  const int ticks = trace ? kSamplesAProgress : 1;
  const auto sample = [&](const engine::Progress& progress) {
    if (trace) {
      samples.add({monotonic_ns(), progress.sent_bytes, progress.remaining_pages});
    }
  };
  std::mutex mutex;
  std::condition_variable wake;
  bool ended = false;
  auto ticker = try_start_thread("progress", ThreadRole::kUrgent, [&] {
    std::unique_lock lock(mutex);
    for (int tick = 1; !wake.wait_for(lock, kProgressInterval / ticks, [&ended] { return ended; });
         ++tick) {
      const auto progress = session.progress();
      sample(progress);
      if (tick % ticks == 0) {
        // A client that went away does not end the migration: it asked for it.
        [[maybe_unused]] const auto sent = connection.send(progress_json(progress));
      }
    }
  });
  if (!ticker) {
    log_warn("no progress is shown: {}", ticker.error().message());
  }
  session.wait();
  {
    const std::lock_guard lock(mutex);
    ended = true;
  }
  wake.notify_all();
  if (ticker) {
    ticker->join();
  }
  sample(session.progress());
  return samples;
}

/// Keeps a held session with its memory; drops one that has ended.
void GuestService::conclude(const std::shared_ptr<Outgoing>& outgoing) {
  const std::lock_guard lock(mutex_);
  if (outgoing->session->state() == engine::SourceState::kSuspended) {
    held_ = true;
    return;
  }
  outgoing_.reset();
}

}  // namespace godwit::app
