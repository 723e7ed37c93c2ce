#include <fmt/format.h>

#include "godwit/base/clock.h"
#include "godwit/base/log.h"
#include "godwit/base/thread.h"
#include "godwit/engine/target_session.h"

#include "policy/timeouts.h"
#include "target/session_impl.h"

namespace godwit::engine {
namespace {

/// Messages of the source come in an order of its own: out of it they are a breach of the protocol.
std::optional<TargetEvent> on_illegal(TargetState /*state*/, TargetEvent event) {
  switch (event) {
    case TargetEvent::kHello:
    case TargetEvent::kDescribed:
    case TargetEvent::kFinalSync:
    case TargetEvent::kCommit:
      return TargetEvent::kLocalError;
    default:
      return std::nullopt;
  }
}

}  // namespace

TargetSession::Impl::Impl(TargetHost& host,
                          Listener& listener,
                          Transport& transport,
                          TargetOptions options)
    : host_(host),
      listener_(listener),
      transport_(transport),
      options_(std::move(options)),
      runner_("target",
              {.perform = [this](const TargetTransition& row) { perform(row); },
               .look_around = [this] { look_around(); },
               .patience_ns =
                   [this] {
                     return patience_ns(runner_.state(),
                                        {.timeout_ns = options_.timeout_ns,
                                         .stall_ns = options_.stall_ns,
                                         .recovers = handshake_.recovers()});
                   },
               .pages_moved_ns = [this] { return pages_moved_ns(); },
               .on_illegal = on_illegal}) {}

TargetSession::Impl::~Impl() {
  abandon();
  if (thread_.joinable()) {
    thread_.join();
  }
}

void TargetSession::Impl::start() {
  auto thread = try_start_thread("godwit-control", ThreadRole::kUrgent, [this] { run(); });
  if (!thread) {
    runner_.note_error(thread.error());
    runner_.push(TargetEvent::kLocalError);
    runner_.fire_all();
    finish();
    return;
  }
  thread_ = std::move(*thread);
}

TargetState TargetSession::Impl::wait() {
  if (thread_.joinable()) {
    thread_.join();
  }
  return state();
}

std::uint64_t TargetSession::Impl::missing_pages() const {
  // acquire: pairs with the release in create_machine(), after which plane_ stays.
  return described_.load(std::memory_order_acquire) ? plane_->states().absent_pages() : 0;
}

TargetGuest* TargetSession::Impl::guest() const {
  return described_.load(std::memory_order_acquire) ? machine_parts_.guest.get() : nullptr;
}

void TargetSession::Impl::abandon() {
  abandoned_.store(true, std::memory_order_release);
  runner_.wake();
  if (ended() && machine_parts_.faults) {
    discard();
  }
}

void TargetSession::Impl::run() {
  if (auto loop = transport_.make_loop()) {
    runner_.open_loop(std::move(*loop));
    watch_listener();
  } else {
    runner_.note_error(loop.error());
    runner_.push(TargetEvent::kLocalError);
  }
  runner_.run();
  finish();
}

void TargetSession::Impl::look_around() {
  take_greeted();
  take_news();
  if (runner_.idle() && abandoned_.load(std::memory_order_acquire)) {
    runner_.note_error(make_error(ErrorCode::kCancelled, "stop", "the target was told to stop"));
    runner_.push(TargetEvent::kLocalError);
  }
}

void TargetSession::Impl::take_news() {
  note_open_channels();
  if (runner_.state() == TargetState::kRunning && plane_->states().absent_pages() == 0) {
    runner_.push(TargetEvent::kAllPresent);
    return;  // a link that closes after the last page is no failure
  }
  if (const auto error = runner_.take_failure()) {
    on_link_error(*error);
  }
}

std::int64_t TargetSession::Impl::pages_moved_ns() {
  const auto received = lanes_ ? lanes_->bytes_received() : 0;
  return std::exchange(seen_bulk_bytes_, received) != received ? monotonic_ns() : 0;
}

void TargetSession::Impl::perform(const TargetTransition& row) {
  const auto actions = row.actions;
  const auto& error = runner_.error();
  if ((actions & kTgtDropLink) != 0) {
    drop_link();
  }
  if ((actions & kTgtTakeLink) != 0) {
    take_link();
  }
  if ((actions & kTgtWelcome) != 0) {
    control_->send(wire::MessageType::kWelcome, handshake_.session());
  }
  if ((actions & kTgtAccept) != 0) {
    control_->send(wire::MessageType::kAccept,
                   wire::Accept{static_cast<std::uint64_t>(machine_parts_.prealloc_ns),
                                machine_parts_.placer->placing() == Placing::kMaps,
                                machine_parts_.placer->name()});
  }
  if ((actions & kTgtRefuse) != 0) {
    control_->send(wire::MessageType::kRefuse,
                   wire::Refuse{error->error.code,
                                static_cast<std::uint16_t>(TargetState::kNegotiating),
                                error->error.message()});
  }
  if ((actions & kTgtLoad) != 0) {
    load();
  }
  if ((actions & kTgtSendReady) != 0) {
    control_->send(wire::MessageType::kReady, wire::Ready{});
  }
  if ((actions & kTgtRun) != 0) {
    run_guest();
  }
  if ((actions & kTgtComplete) != 0) {
    complete();
  }
  if ((actions & kTgtTellMissing) != 0) {
    tell_missing();
  }
  if ((actions & kTgtTellComplete) != 0) {
    tell_complete();
  }
  if ((actions & kTgtSendNotStarted) != 0) {
    control_->send(wire::MessageType::kNotStarted,
                   wire::NotStarted{error->error.code, error->error.message()});
  }
  if ((actions & kTgtAckCancel) != 0) {
    control_->send(wire::MessageType::kCancelAck, wire::CancelAck{});
  }
  if ((actions & kTgtSendAbort) != 0 && control_ && !control_->broken() && error) {
    control_->send(
        wire::MessageType::kAbort,
        wire::Abort{
            error->error.code, static_cast<std::uint16_t>(row.from), error->error.message()});
  }
  if (runner_.machine().ended()) {
    trace_.ended_ns = monotonic_ns();
    flush();
  }
  if ((actions & kTgtDiscard) != 0) {
    discard();
  }
  if ((actions & kTgtHold) != 0) {
    hold();
  }
}

void TargetSession::Impl::flush() {
  const auto deadline = Deadline::after_ns(kFlushNs);
  while (control_ && !control_->broken() && !control_->idle() && !deadline.passed()) {
    if (!runner_.loop()->run_once(deadline)) {
      break;
    }
  }
}

void TargetSession::Impl::discard() {
  stop_threads();
  if (machine_parts_.faults) {
    [[maybe_unused]] const auto disarmed = machine_parts_.faults->disarm();
  }
}

void TargetSession::Impl::hold() {
  log_error("target: holding: memory is kept; the guest {}",
            runner_.state() == TargetState::kSuspended ? "runs on what it has" : "waits");
  // Pages that are here are still mapped when the guest touches them.
  drop_link();
}

void TargetSession::Impl::stop_threads() {
  if (std::exchange(threads_stopped_, true)) {
    return;
  }
  if (urgent_) {
    urgent_->stop();
    take_log(urgent_->log());
  }
  stop_lanes();
}

void TargetSession::Impl::stop_lanes() {
  if (lanes_) {
    lanes_->stop();
    for (const auto& lane : lanes_->lanes()) {
      take_log(lane->log());
    }
  }
}

void TargetSession::Impl::take_log(const FaultLog& log) {
  latencies_.merge(log.latencies());
  const auto kept = log.kept();
  trace_.faults.insert(trace_.faults.end(), kept.begin(), kept.end());
}

void TargetSession::Impl::trace_faults() {
  keep_earliest(trace_.faults, options_.trace_faults);
  trace_.faults_dropped = latencies_.count() - trace_.faults.size();
}

void TargetSession::Impl::finish() {
  if (runner_.loop() != nullptr) {
    stop_listening();
  }
  trace_.states = runner_.take_states();
  const auto state = runner_.state();
  if (state != TargetState::kSuspended && state != TargetState::kInDoubt) {
    trace_faults();
    urgent_.reset();
    lanes_.reset();
  }
  control_.reset();
  runner_.close_loop();
  ended_.store(true, std::memory_order_release);
}

TargetSession::TargetSession(TargetHost& host,
                             Listener& listener,
                             Transport& transport,
                             TargetOptions options)
    : impl_(std::make_unique<Impl>(host, listener, transport, std::move(options))) {}
TargetSession::~TargetSession() = default;
void TargetSession::start() {
  impl_->start();
}
TargetState TargetSession::wait() {
  return impl_->wait();
}
bool TargetSession::ended() const {
  return impl_->ended();
}
TargetState TargetSession::state() const {
  return impl_->state();
}
std::uint64_t TargetSession::missing_pages() const {
  return impl_->missing_pages();
}
std::optional<EndError> TargetSession::error() const {
  return impl_->error();
}
const TargetTrace& TargetSession::trace() const {
  return impl_->trace();
}
TargetGuest* TargetSession::guest() const {
  return impl_->guest();
}
std::unique_ptr<TargetGuest> TargetSession::take_guest() {
  return impl_->take_guest();
}
void TargetSession::abandon() {
  impl_->abandon();
}

}  // namespace godwit::engine
