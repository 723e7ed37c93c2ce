#include "service/guest_service.h"

#include <algorithm>

#include <fmt/format.h>

#include "godwit/base/clock.h"
#include "godwit/base/log.h"
#include "godwit/base/units.h"

#include "cli/units_text.h"
#include "control/timeouts.h"
#include "host/memory.h"
#include "report/timeline.h"

namespace godwit::app {
namespace {

tl::unexpected<Error> refuse(std::string why) {
  return fail(ErrorCode::kState, "", std::move(why));
}

/// The answer to what only says whether it was done.
Result<Json> done(const Status& status) {
  if (!status) {
    return fail(status.error());
  }
  return reply_json();
}

void answer(ControlConnection& connection, const Result<Json>& result) {
  // Whoever asked may be gone: then nobody misses the answer.
  [[maybe_unused]] const auto sent = connection.send(result ? *result : error_json(result.error()));
}

std::uint64_t total_steps(const vmm::GuestTelemetry& telemetry) {
  std::uint64_t steps = 0;
  for (const auto& vcpu : telemetry.vcpus) {
    steps += vcpu.steps;
  }
  return steps;
}

bool runs_here(engine::TargetState state) {
  switch (state) {
    case engine::TargetState::kRunning:
    case engine::TargetState::kReconnecting:
    case engine::TargetState::kResync:
    case engine::TargetState::kConfirming:
    case engine::TargetState::kUnconfirmed:
    case engine::TargetState::kCompleted:
      return true;
    default:
      return false;
  }
}

}  // namespace

bool guest_depends_on(const engine::TargetSession& session) {
  switch (session.state()) {
    case engine::TargetState::kReady:
    case engine::TargetState::kUndecided:
      return true;
    case engine::TargetState::kRunning:
    case engine::TargetState::kReconnecting:
    case engine::TargetState::kResync:
      return session.missing_pages() > 0;
    default:
      return false;
  }
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
    outgoing_->session().request_cancel();
    outgoing_->session().stop_reconnecting();
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

void GuestService::handle(const Json& json, ControlConnection& connection) {
  const auto request = request_of(json);
  if (!request) {
    answer(connection, fail(request.error()));
    return;
  }
  switch (*request) {
    case Request::kStatus:
      return answer(connection, status_json(status()));
    case Request::kFilled:
      return answer(connection, wait_filled(connection));
    case Request::kSettle:
      return answer(connection, status_json(settle(settle_of(json))));
    case Request::kTelemetry:
      return answer(connection, telemetry(telemetry_request_of(json)));
    case Request::kSweep:
      return answer(connection, sweep());
    case Request::kMigrate:
      if (auto done = migrate(json, connection); !done) {
        answer(connection, fail(std::move(done.error())));
      }
      return;
    case Request::kRecover:
      if (auto done = recover(recover_of(json), connection); !done) {
        answer(connection, fail(std::move(done.error())));
      }
      return;
    case Request::kResume:
      return answer(connection, done(resume(resume_of(json))));
    case Request::kReport:
      return answer(connection, report(report_request_of(json)));
    case Request::kSwitch:
      return answer(connection, done(request_switch(switch_of(json))));
    case Request::kCancel:
      return answer(connection, done(cancel()));
    case Request::kStop:
      answer(connection, done(stop()));
      if (end() == End::kStopped) {
        end_event_.signal();
      }
      return;
  }
}

StatusAnswer GuestService::incoming_status(const engine::TargetSession& session) const {
  const auto state = session.state();
  StatusAnswer answer;
  answer.state = "receiving";
  if (state == engine::TargetState::kListening) {
    answer.state = "waiting";
  } else if (runs_here(state)) {
    answer.state = "running";
  } else if (state == engine::TargetState::kSuspended) {
    answer.state = "held";
  } else if (state == engine::TargetState::kInDoubt || state == engine::TargetState::kUndecided) {
    answer.state = "in-doubt";
  } else if (state == engine::TargetState::kFailed || state == engine::TargetState::kCancelled) {
    answer.state = "failed";
  }
  answer.phase = engine::to_string(state);
  answer.missing_pages = session.missing_pages();
  answer.error = session.ended() ? session.error() : last_failure_;
  if (answer.error) {
    answer.reason = answer.error->error.message();
  }
  // The machine is made and dropped by the session's own thread; it is certain to stay only in
  // these states.
  if (state == engine::TargetState::kSuspended || state == engine::TargetState::kInDoubt ||
      state == engine::TargetState::kUndecided) {
    if (const auto* guest = session.guest(); guest != nullptr) {
      answer.memory_bytes = guest->memory().page_count() * kPageBytes;
      answer.resident_bytes = allocated_bytes(guest->memory());
    }
  }
  answer.failed_attempts = attempts_failed_;
  return answer;
}

StatusAnswer GuestService::status() const {
  const std::lock_guard lock(mutex_);
  if (incoming_ != nullptr) {
    return incoming_status(*incoming_);
  }
  StatusAnswer answer;
  if (!guest_) {
    answer.state = "none";
    return answer;
  }
  const auto& config = guest_->config();
  answer.state = held_ ? "held" : end_ == End::kMigratedAway ? "migrated-away" : "running";
  if (outgoing_) {
    answer.state = held_ ? "held" : "migrating";
    const auto progress = outgoing_->session().progress();
    answer.phase = progress.phase;
    answer.round = progress.round;
    answer.remaining_pages = progress.remaining_pages;
    answer.moved_pages_per_s = progress.moved_pages_per_s;
    answer.dirtied_pages_per_s = progress.dirtied_pages_per_s;
    if (progress.blackout_ns >= 0) {
      answer.expected_blackout_ns = progress.blackout_ns;
    }
    if (progress.reason != engine::SwitchReason::kNone) {
      answer.switch_reason = engine::kSwitchReasonNames.name_of(progress.reason);
    }
  }
  if (!ended_.empty()) {
    answer.last_migration = ended_.back().summary;
  }
  answer.kind = vmm::kind_name(config.kind);
  answer.vcpus = config.vcpus;
  answer.workload = vmm::workload_name(config.workload);
  answer.dirty_source = vmm::dirty_choice_name(config.dirty);
  answer.memory_bytes = config.memory_bytes;
  answer.resident_bytes = allocated_bytes(guest_->memory());
  answer.filled = guest_->filled();
  const auto told = guest_->telemetry();
  answer.steps = total_steps(told);
  answer.guest_errors = told.guest_errors;
  return answer;
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
    const auto json = fill_json({filled, allocated_bytes(guest_->memory())});
    if (filled) {
      return json;
    }
    lock.unlock();
    GODWIT_TRY(connection.offer(json));
    lock.lock();
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

StatusAnswer GuestService::settle(const SettleRequest& request) {
  {
    std::unique_lock lock(mutex_);
    wait_settled(lock, request.attempts.value_or(attempts_failed_));
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

Result<Json> GuestService::telemetry(const TelemetryRequest& request) {
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
  TelemetryAnswer answer;
  answer.telemetry = guest->telemetry();
  if (request.timeline_from) {
    answer.timeline = timeline_since(*guest, *request.timeline_from);
  }
  answer.memory = process_memory(guest->memory());
  return telemetry_json(std::move(answer));
}

Result<Json> GuestService::sweep() {
  GODWIT_TRY_ASSIGN(auto* guest, begin(Busy::kSweep));
  const auto allowance = static_cast<std::int64_t>(guest->config().memory_bytes / kSweepRateMin);
  const auto result = guest->sweep(Deadline::after_ns(kSweepBaseNs + allowance * 1'000'000'000));
  auto told = guest->telemetry();
  finish_busy();
  if (!result) {
    return fail(result.error());
  }
  return sweep_json({std::move(told), *result});
}

Status GuestService::request_switch(const SwitchRequest& request) {
  const std::lock_guard lock(mutex_);
  if (!outgoing_ || held_) {
    return refuse("no migration is running");
  }
  auto& session = outgoing_->session();
  if (outgoing_->mode() == engine::Mode::kPrecopy && !request.force) {
    const auto blackout_ns = session.progress().blackout_ns;
    return refuse(fmt::format(
        "the mode is precopy: the guest would stand still until the rest has been sent, {}; "
        "`godwit switch --force` does it all the same",
        blackout_ns < 0 ? "for a time that is not known yet"
                        : "for about " + duration_text(blackout_ns)));
  }
  session.request_switch();
  return {};
}

Status GuestService::cancel() {
  const std::lock_guard lock(mutex_);
  if (busy_ != Busy::kMigration) {
    return refuse("no migration is running");
  }
  cancel_early_ = true;
  changed_.notify_all();
  if (outgoing_ && !outgoing_->session().request_cancel()) {
    return refuse("the migration is committed: it can no longer be cancelled");
  }
  return {};
}

Status GuestService::resume(const ResumeRequest& request) {
  std::unique_lock lock(mutex_);
  if (!outgoing_ || incoming_ != nullptr) {
    return refuse("no migration is held here");
  }
  const std::string lost =
      "the guest goes on as it was when it stopped here: what it has done at the target since is "
      "lost, and if it still runs there, there are two of it";
  if (!request.fence) {
    return refuse(
        "the target may be running the guest; where it is dead for certain, --fence says so: " +
        lost);
  }
  if (!request.yes) {
    return refuse(lost + "; add --yes if that is what you want");
  }
  if (const auto state = outgoing_->session().state();
      !held_ && state != engine::SourceState::kReconnecting &&
      state != engine::SourceState::kResync) {
    return refuse("the migration goes on: its link is not lost");
  }
  // A link that is still dialled is given up first.
  outgoing_->session().stop_reconnecting();
  const bool held =
      changed_.wait_for(lock, kSettledWithin, [this] { return held_ && busy_ == Busy::kNo; });
  if (!held) {
    return refuse("the migration is neither held nor is its link lost");
  }
  GODWIT_TRY_ASSIGN(const bool resumed, outgoing_->session().resume_fenced());
  if (!resumed) {
    return refuse("no migration is held here");
  }
  log_warn("audit: the guest was resumed here by --fence --yes; its target is taken for dead");
  held_ = false;
  outgoing_.reset();
  changed_.notify_all();
  return {};
}

Status GuestService::stop() {
  const std::lock_guard lock(mutex_);
  if (outgoing_ && !held_ && !outgoing_->session().request_cancel()) {
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
  return {};
}

// --------------------------------------------------------------------------------------- migrating

Status GuestService::migrate(const Json& json, ControlConnection& connection) {
  GODWIT_TRY_ASSIGN(const auto request, migration_of(json));
  GODWIT_TRY_ASSIGN(auto* guest, begin(Busy::kMigration));
  auto result = run_migration(request, *guest, connection);
  if (!result) {
    finish_busy();
    return fail(result.error());
  }
  tell_result(std::move(*result), connection);
  return {};
}

Status GuestService::recover(const RecoverRequest& request, ControlConnection& connection) {
  std::shared_ptr<Outgoing> outgoing;
  {
    const std::lock_guard lock(mutex_);
    if (shutting_down_ || end_ != End::kNone) {
      return refuse("this process ends");
    }
    if (!held_ || !outgoing_ || busy_ != Busy::kNo) {
      return refuse(busy_ == Busy::kMigration ? "a migration is running"
                                              : "no migration is held here");
    }
    GODWIT_TRY(outgoing_->recover(request.to));
    held_ = false;
    busy_ = Busy::kMigration;
    outgoing = outgoing_;
  }
  outgoing->follow(connection);
  conclude(outgoing);
  tell_result(outgoing->result(), connection);
  return {};
}

Result<Json> GuestService::report(const ReportRequest& request) const {
  const std::lock_guard lock(mutex_);
  const auto found = std::ranges::find_if(ended_, [&](const Ended& ended) {
    return request.id ? ended.summary.id == *request.id : &ended == &ended_.back();
  });
  if (found != ended_.end()) {
    ReportAnswer answer;
    answer.report = found->report;
    return report_answer_json(std::move(answer));
  }
  return refuse(request.id ? fmt::format("there is no report of migration {} here", *request.id)
                           : std::string("no migration away from here has ended"));
}

void GuestService::tell_result(MigrationResult result, ControlConnection& connection) {
  constexpr std::size_t kEndedMax = 8;
  const bool completed = result.report.outcome == engine::Outcome::kCompleted;
  {
    const std::lock_guard lock(mutex_);
    ended_.push_back(
        {{++migrations_, kOutcomeNames.name_of(result.report.outcome), result.report.error},
         result.answer.report});
    if (ended_.size() > kEndedMax) {
      ended_.pop_front();
    }
  }
  if (!completed) {
    // Who has the report may ask for the next migration at once.
    finish_busy();
  }
  answer(connection, report_answer_json(std::move(result.answer)));
  if (result.trace) {
    // After the report, which must get through to a client that reads slowly.
    answer(connection, trace_answer_json(std::move(*result.trace)));
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
}

void GuestService::wait_before_timeline() {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, kBeforeTimeline, [this] { return cancel_early_; });
}

Result<MigrationResult> GuestService::run_migration(const MigrationRequest& request,
                                                    vmm::Guest& guest,
                                                    ControlConnection& connection) {
  GODWIT_TRY_ASSIGN(const auto outgoing, Outgoing::prepare(request, transport_, guest, connection));
  if (request.settings.timeline) {
    wait_before_timeline();
  }
  outgoing->open();
  {
    const std::lock_guard lock(mutex_);
    outgoing_ = outgoing;
    outgoing->session().start();
    if (cancel_early_) {
      outgoing->session().request_cancel();
    }
  }
  outgoing->follow(connection);
  conclude(outgoing);
  return outgoing->result();
}

void GuestService::conclude(const std::shared_ptr<Outgoing>& outgoing) {
  const std::lock_guard lock(mutex_);
  if (outgoing->session().state() == engine::SourceState::kSuspended) {
    held_ = true;
    return;
  }
  outgoing_.reset();
}

}  // namespace godwit::app
