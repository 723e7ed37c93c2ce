#include <fmt/format.h>

#include "godwit/base/clock.h"
#include "godwit/base/log.h"
#include "godwit/base/thread.h"
#include "godwit/engine/source_session.h"

#include "policy/timeouts.h"
#include "source/session_impl.h"

namespace godwit::engine {
namespace {

/// Only a peer can bring an event that is not legal; a late echo of a cancel is harmless.
std::optional<SourceEvent> on_illegal(SourceState state, SourceEvent event) {
  switch (event) {
    case SourceEvent::kReady:
    case SourceEvent::kRunning:
    case SourceEvent::kComplete:
    case SourceEvent::kAccepted:
    case SourceEvent::kBarrierAcked:
    case SourceEvent::kNotStarted:
      return state == SourceState::kCancelling || state == SourceState::kRevoking
                 ? std::nullopt
                 : std::optional(SourceEvent::kLinkLost);
    default:
      return std::nullopt;
  }
}

}  // namespace

SourceSession::Impl::Impl(SourceGuest& guest, Transport& transport, SourceOptions options)
    : guest_(guest),
      transport_(&transport),
      options_(std::move(options)),
      runner_("source",
              {.perform = [this](const SourceTransition& row) { perform(row); },
               .look_around = [this] { look_around(); },
               .patience_ns = [this] { return patience_here(); },
               .pages_moved_ns = [this] { return lanes_ ? lanes_->progress_ns() : 0; },
               .wakes_at_ns = [this] { return wakes_at(); },
               .on_illegal = on_illegal}),
      plane_(guest.memory(), options_),
      loss_(guest.memory(), plane_.ledger, options_.planted_loss),
      handshake_(options_.checksum, options_.recover_for_ns != 0),
      window_(options_.recover_for_ns) {}

void SourceSession::Impl::start() {
  start_thread(&Impl::run);
}

void SourceSession::Impl::start_thread(void (Impl::*body)()) {
  auto thread =
      try_start_thread("godwit-migrate", ThreadRole::kUrgent, [this, body] { (this->*body)(); });
  if (!thread) {
    if (stamps_.began_ns == 0) {
      stamps_.began_ns = monotonic_ns();
    }
    runner_.note_error(thread.error());
    runner_.push(SourceEvent::kLocalError);
    runner_.fire_all();
    finish();
    return;
  }
  thread_ = std::move(*thread);
}

const MigrationReport& SourceSession::Impl::wait() {
  if (thread_.joinable()) {
    thread_.join();
  }
  return report_;
}

void SourceSession::Impl::request_switch() {
  plane_.switch_requested.store(true, std::memory_order_release);  // pairs with the lanes' load
  runner_.wake();
}

bool SourceSession::Impl::request_cancel() {
  // Either this or the decision comes first, never both.
  auto fate = Fate::kOpen;
  if (!fate_.compare_exchange_strong(fate, Fate::kCancelled, std::memory_order_acq_rel) &&
      fate == Fate::kDecided) {
    return false;
  }
  cancel_requested_.store(true, std::memory_order_release);
  transport_->interrupt();
  runner_.wake();
  return true;
}

Progress SourceSession::Impl::progress() const {
  Progress progress;
  progress.phase = to_string(state());
  progress.round = round_.load(std::memory_order_relaxed);
  progress.sent_pages = plane_.counters.precopy_pages.load(std::memory_order_relaxed) +
                        plane_.counters.background_pages.load(std::memory_order_relaxed);
  progress.remaining_pages = plane_.ledger.pending_pages();
  progress.sent_bytes = plane_.counters.frame_bytes.load(std::memory_order_relaxed) +
                        plane_.counters.urgent_frame_bytes.load(std::memory_order_relaxed);
  const auto elapsed = monotonic_ns() - rounds_began_ns_.load(std::memory_order_relaxed);
  if (elapsed > 0 && rounds_began_ns_.load(std::memory_order_relaxed) != 0) {
    const double rate =
        static_cast<double>(progress.sent_pages * kPageBytes) * 1e9 / static_cast<double>(elapsed);
    progress.bytes_per_s = static_cast<std::uint64_t>(rate);
    if (rate > 0) {
      progress.eta_ns = static_cast<std::int64_t>(
          static_cast<double>(progress.remaining_pages * kPageBytes) / rate * 1e9);
    }
  }
  if (options_.mode == Mode::kPrecopy && round_.load(std::memory_order_relaxed) != 0) {
    const auto blackout = forecast();
    progress.blackout_ns = blackout ? blackout->total_ns() : -1;
  }
  progress.moved_pages_per_s = moved_per_s_.load(std::memory_order_relaxed);
  progress.dirtied_pages_per_s = dirtied_per_s_.load(std::memory_order_relaxed);
  progress.reason = switch_reason_.load(std::memory_order_relaxed);
  return progress;
}

void SourceSession::Impl::run() {
  stamps_.began_ns = monotonic_ns();
  if (auto loop = transport_->make_loop()) {
    runner_.open_loop(std::move(*loop));
    runner_.push(SourceEvent::kStart);
  } else {
    runner_.note_error(loop.error());
    runner_.push(SourceEvent::kLocalError);
  }
  runner_.run();
  finish();
}

std::optional<std::int64_t> SourceSession::Impl::patience_here() const {
  const bool populating = options_.prealloc && lanes_ == nullptr;
  return patience_ns(runner_.state(),
                     {.timeout_ns = options_.timeout_ns,
                      .stall_ns = options_.stall_ns,
                      .recovers = handshake_.recovers()},
                     populating ? guest_.memory().page_count() * kPageBytes : 0);
}

void SourceSession::Impl::look_around() {
  take_failures();
  if (dials() && runner_.idle()) {
    dial();
    if (runner_.state() == SourceState::kReconnecting) {
      return;
    }
  }
  if (runner_.state() == SourceState::kSetup && !accepted_ && all_open()) {
    accepted_ = true;
    runner_.push(SourceEvent::kAccepted);
  }
  if (runner_.state() == SourceState::kResync && missing_told_ && all_open()) {
    resynced();
  }
  // acquire: pairs with stop_reconnecting().
  if (runner_.state() == SourceState::kResync && give_up_link_.load(std::memory_order_acquire)) {
    runner_.push(SourceEvent::kLinkLost);
  }
  if (ordered_ != Ordered::kNothing && lanes_->done()) {
    order_done(std::exchange(ordered_, Ordered::kNothing));
  }
  if (cancel_requested_.exchange(false, std::memory_order_acq_rel) &&
      !runner_.machine().decided() && runner_.state() != SourceState::kCancelling) {
    cancelled_ = true;
    runner_.note_error(make_error(ErrorCode::kCancelled, "cancel", "cancelled on request"));
    runner_.push(SourceEvent::kCancel);
  }
}

bool SourceSession::Impl::interrupted(const Error& error) const {
  return error.code == ErrorCode::kCancelled &&
         fate_.load(std::memory_order_acquire) == Fate::kCancelled;
}

void SourceSession::Impl::perform(const SourceTransition& row) {
  const auto actions = row.actions;
  const auto attempt = [&](std::uint32_t action, Status (Impl::*member)()) {
    if ((actions & action) == 0) {
      return true;
    }
    if (auto done = (this->*member)(); !done) {
      if (interrupted(done.error())) {
        return false;
      }
      runner_.note_error(done.error());
      const bool link =
          done.error().code == ErrorCode::kClosed || done.error().code == ErrorCode::kProtocol;
      runner_.push(link ? SourceEvent::kLinkLost : SourceEvent::kLocalError);
      return false;
    }
    return true;
  };
  if ((actions & kActResume) != 0 && (actions & kActDropLink) != 0) {
    resume();  // the guest stands still for no thread that has to end
  }
  // Nothing fails a rollback or a hold; everything else stops at its first failure, which is then
  // an event.
  if (!attempt(kActDropLink, &Impl::drop_link) || !attempt(kActReconnect, &Impl::begin_reconnect) ||
      !attempt(kActConnect, &Impl::connect) || !attempt(kActSendHello, &Impl::send_hello) ||
      !attempt(kActDescribe, &Impl::describe) || !attempt(kActStartRounds, &Impl::begin_rounds) ||
      !attempt(kActSendBarrier, &Impl::send_barrier) || !attempt(kActQuiesce, &Impl::quiesce) ||
      !attempt(kActSendState, &Impl::send_state) || !attempt(kActSendCommit, &Impl::send_commit) ||
      !attempt(kActStream, &Impl::begin_stream)) {
    return;
  }
  if ((actions & kActFinish) != 0) {
    control_->send(wire::MessageType::kFinish, wire::Finish{});
  }
  if ((actions & kActSendCancel) != 0 && lanes_) {
    lanes_->halt();
  }
  if ((actions & kActSendCancel) != 0 && control_ && !control_->broken()) {
    control_->send(wire::MessageType::kCancel,
                   wire::Cancel{runner_.error() ? runner_.error()->error.message() : "cancelled"});
  }
  if ((actions & kActResume) != 0) {
    resume();
  }
  if ((actions & kActHold) != 0) {
    log_error("source: holding: the guest is not resumed here and its memory is kept");
  }
  if ((actions & kActClose) != 0) {
    close();
  }
}

void SourceSession::Impl::shut_down_channels() {
  if (control_) {
    control_->channel().shut_down();
  }
  if (lanes_) {
    lanes_->halt();
    lanes_->shut_down();
  }
  if (urgent_) {
    urgent_->shut_down();
  }
}

void SourceSession::Impl::close() {
  ended_ns_ = monotonic_ns();
  // The last message (FINISH, CANCEL) still has to leave.
  const auto flush = Deadline::after_ns(kFlushNs);
  while (control_ && !control_->broken() && !control_->idle() && !flush.passed()) {
    if (!runner_.loop()->run_once(flush)) {
      break;
    }
  }
  if (urgent_) {
    urgent_->stop();
  }
  if (lanes_) {
    lanes_->stop();
  }
  shut_down_channels();
  if (tracking_started_) {
    tracking_->stop();
    tracking_started_ = false;
  }
}

void SourceSession::Impl::finish() {
  forget_link();
  fill_report();
  runner_.close_loop();
  ended_.store(true, std::memory_order_release);
}

void SourceSession::Impl::fill_report() {
  report_.error = runner_.error();
  for (const auto& state : runner_.take_states()) {
    report_.trace.states.push_back(state);
  }
  switch (runner_.state()) {
    case SourceState::kCompleted:
      report_.outcome = Outcome::kCompleted;
      report_.error.reset();
      break;
    case SourceState::kSuspended:
      report_.outcome = Outcome::kInDoubt;
      break;
    default:
      report_.outcome = cancelled_ ? Outcome::kCancelled : Outcome::kFailed;
  }
  report_.control_bytes = totals_.control_bytes;
  report_.urgent_bytes = totals_.urgent_bytes;
  report_.pages_demand = totals_.demand_pages;
  report_.pages_overtaken = totals_.overtaken_pages;
  report_.payload_bytes = totals_.urgent_payload_bytes;
  report_.wire_bytes = totals_.bulk_bytes + totals_.urgent_bytes + totals_.control_bytes;
  report_.channels = options_.channels;
  report_.cpu_waited_ns = totals_.waited_ns;
  report_.cpu_raised = totals_.raised;
  report_.planted_page = loss_.page();
  fill_pages(report_, plane_);
  const bool completed = runner_.state() == SourceState::kCompleted;
  if (completed) {
    check_books();
  }
  fill_times(report_, stamps_, ended_ns_, running_, options_, completed);
}

void SourceSession::Impl::check_books() {
  if (report_.target.installed != pending_at_switch_) {
    log_error("source: {} pages were missing at the switch, {} were installed",
              pending_at_switch_,
              report_.target.installed);
    report_.outcome = Outcome::kFailed;
    report_.error = EndError{
        make_error(ErrorCode::kInternal, "post-copy", "pages were not installed exactly once"),
        "target",
        "completed"};
  }
}

SourceSession::SourceSession(SourceGuest& guest, Transport& transport, SourceOptions options)
    : impl_(std::make_unique<Impl>(guest, transport, std::move(options))) {}
SourceSession::~SourceSession() = default;
void SourceSession::start() {
  impl_->start();
}
const MigrationReport& SourceSession::wait() {
  return impl_->wait();
}
bool SourceSession::ended() const {
  return impl_->ended();
}
void SourceSession::request_switch() {
  impl_->request_switch();
}
bool SourceSession::request_cancel() {
  return impl_->request_cancel();
}
void SourceSession::stop_reconnecting() {
  impl_->stop_reconnecting();
}
bool SourceSession::recover(Transport* transport) {
  return impl_->recover(transport);
}
Result<bool> SourceSession::resume_fenced() {
  return impl_->resume_fenced();
}
SourceState SourceSession::state() const {
  return impl_->state();
}
Progress SourceSession::progress() const {
  return impl_->progress();
}

}  // namespace godwit::engine
