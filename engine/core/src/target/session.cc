#include <fmt/format.h>

#include "godwit/base/clock.h"
#include "godwit/base/log.h"
#include "godwit/base/thread.h"
#include "godwit/engine/target_session.h"

#include "policy/timeouts.h"
#include "target/session_impl.h"

namespace godwit::engine {

TargetSession::Impl::~Impl() {
  abandon();
  if (thread_.joinable()) {
    thread_.join();
  }
}

void TargetSession::Impl::start() {
  auto thread = try_start_thread("godwit-control", ThreadRole::kUrgent, [this] { run(); });
  if (!thread) {
    note_error(thread.error(), "target");
    push(TargetEvent::kLocalError);
    fire_all();
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
  // acquire: pairs with the release in accept_description(), after which plane_ stays.
  return described_.load(std::memory_order_acquire) ? plane_->states().absent_pages() : 0;
}

TargetGuest* TargetSession::Impl::guest() const {
  return described_.load(std::memory_order_acquire) ? machine_parts_.guest.get() : nullptr;
}

void TargetSession::Impl::abandon() {
  abandoned_.store(true, std::memory_order_release);
  {
    const std::lock_guard lock(mutex_);
    if (loop_ != nullptr) {
      loop_->wake();
    }
  }
  if (ended() && machine_parts_.faults) {
    stop_threads();
    [[maybe_unused]] const auto disarmed = machine_parts_.faults->disarm();
  }
}

void TargetSession::Impl::run() {
  auto loop = transport_.make_loop();
  if (!loop) {
    note_error(loop.error(), "target");
    push(TargetEvent::kLocalError);
  } else {
    const std::lock_guard lock(mutex_);
    loop_ = std::move(*loop);
  }
  if (loop_) {
    watch_listener();
  }
  progress_ns_ = monotonic_ns();
  while (true) {
    take_greeted();
    take_notes();
    fire_all();
    if (machine_.ended()) {
      break;
    }
    look_around();
    if (!events_.empty()) {
      continue;
    }
    if (auto ran = loop_->run_once(deadline()); !ran) {
      note_error(ran.error(), "target");
      push(TargetEvent::kLocalError);
    }
  }
  finish();
}

Deadline TargetSession::Impl::deadline() const {
  const auto patience = patience_ns(machine_.state(), options_.timeout_ns);
  return patience ? Deadline{progress_ns_ + *patience + 1} : Deadline::never();
}

void TargetSession::Impl::look_around() {
  if (abandoned_.load(std::memory_order_acquire)) {
    note_error(make_error(ErrorCode::kCancelled, "stop", "the target was told to stop"), "target");
    push(TargetEvent::kLocalError);
    return;
  }
  // Progress of the bulk channel is read only when the time has come, so that its thread stamps
  // nothing a page.
  if (const auto patience = patience_ns(machine_.state(), options_.timeout_ns);
      patience && monotonic_ns() - progress_ns_ > *patience) {
    const auto received = lanes_ ? lanes_->bytes_received() : 0;
    if (received != seen_bulk_bytes_) {
      seen_bulk_bytes_ = received;
      progress_ns_ = monotonic_ns();
      return;
    }
    note_error(make_error(ErrorCode::kTimeout,
                          "deadline",
                          fmt::format("no progress for {} ms in phase {}",
                                      options_.timeout_ns / 1'000'000,
                                      to_string(machine_.state()))),
               "target");
    push(TargetEvent::kTimeout);
  }
}

void TargetSession::Impl::note_error(const Error& error, const char* side) {
  if (!error_) {
    error_ = EndError{error, side, std::string(to_string(machine_.state()))};
    log_error("target: {} in phase {}", error.message(), to_string(machine_.state()));
  }
}

void TargetSession::Impl::fire(TargetEvent event) {
  const auto before = machine_.state();
  const auto* transition = machine_.on(event);
  if (transition == nullptr) {
    const bool from_peer = event == TargetEvent::kFinalSync || event == TargetEvent::kCommit ||
                           event == TargetEvent::kHello || event == TargetEvent::kDescribed;
    if (from_peer) {
      note_error(
          make_error(
              ErrorCode::kProtocol,
              "message",
              fmt::format("{} is not legal in phase {}", to_string(event), to_string(before))),
          "target");
      push(TargetEvent::kLocalError);
    }
    return;
  }
  state_.store(machine_.state(), std::memory_order_release);
  log_debug(
      "target: {} + {} -> {}", to_string(before), to_string(event), to_string(machine_.state()));
  progress_ns_ = monotonic_ns();
  const bool nobody_came = before == TargetState::kListening && machine_.ended();
  if (machine_.state() != before && !nobody_came) {
    trace_.states.push_back({to_string(machine_.state()), progress_ns_});
  }
  perform(transition->actions);
}

void TargetSession::Impl::fire_all() {
  while (!events_.empty() && !machine_.ended()) {
    const auto event = events_.front();
    events_.pop_front();
    fire(event);
  }
}

void TargetSession::Impl::perform(std::uint32_t actions) {
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
                   wire::Refuse{error_->error.code,
                                static_cast<std::uint16_t>(TargetState::kNegotiating),
                                error_->error.message()});
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
  if ((actions & kTgtAckCancel) != 0) {
    control_->send(wire::MessageType::kCancelAck, wire::CancelAck{});
  }
  if ((actions & kTgtSendAbort) != 0 && control_ && !control_->broken() && error_) {
    control_->send(wire::MessageType::kAbort,
                   wire::Abort{error_->error.code,
                               static_cast<std::uint16_t>(phase_before_end_),
                               error_->error.message()});
  }
  if ((actions & kTgtHold) != 0) {
    log_error("target: holding: memory is kept; the guest {}",
              machine_.state() == TargetState::kSuspended ? "runs on what it has" : "waits");
  }
  phase_before_end_ = machine_.state();
}

void TargetSession::Impl::wake() {
  const std::lock_guard lock(mutex_);
  if (loop_ != nullptr) {
    loop_->wake();
  }
}

void TargetSession::Impl::note_from_thread(const Error& error) {
  {
    const std::lock_guard lock(mutex_);
    if (!thread_error_) {
      thread_error_ = error;
    }
  }
  wake();
}

void TargetSession::Impl::take_notes() {
  if (machine_.state() == TargetState::kSetup && all_open()) {
    stop_listening();
    push(TargetEvent::kChannelsOpen);
  }
  if (machine_.state() == TargetState::kRunning && plane_->states().absent_pages() == 0) {
    push(TargetEvent::kAllPresent);
    return;  // a link that closes after the last page is no failure
  }
  std::optional<Error> error;
  {
    const std::lock_guard lock(mutex_);
    error.swap(thread_error_);
  }
  if (error) {
    const bool link = error->code == ErrorCode::kClosed || error->code == ErrorCode::kIo;
    note_error(*error, "target");
    push(link ? TargetEvent::kLinkLost : TargetEvent::kLocalError);
  }
}

void TargetSession::Impl::stop_threads() {
  if (urgent_) {
    urgent_->stop();
    take_log(urgent_->log());
  }
  if (lanes_) {
    lanes_->stop();
    for (const auto& lane : lanes_->lanes()) {
      take_log(lane->log());
    }
  }
}

void TargetSession::Impl::take_log(const FaultLog& log) {
  latencies_.merge(log.latencies());
  kept_faults_.push_back(log.kept());
}

void TargetSession::Impl::trace_faults() {
  for (const auto& kept : kept_faults_) {
    trace_.faults.insert(trace_.faults.end(), kept.begin(), kept.end());
  }
  keep_earliest(trace_.faults, options_.trace_faults);
  trace_.faults_dropped = latencies_.count() - trace_.faults.size();
}

void TargetSession::Impl::close_channels() {
  urgent_.reset();
  lanes_.reset();
}

void TargetSession::Impl::finish() {
  trace_.ended_ns = monotonic_ns();
  const bool completed = machine_.state() == TargetState::kCompleted;
  const auto flush = Deadline::after_ns(kFlushNs);
  const auto pending = [&] { return !control_->idle() || (completed && !finished_); };
  while (control_ && !control_->broken() && pending() && !flush.passed()) {
    if (!loop_->run_once(flush)) {
      break;
    }
  }
  if (loop_) {
    stop_listening();
  }
  const bool held =
      machine_.state() == TargetState::kSuspended || machine_.state() == TargetState::kInDoubt;
  if (held && urgent_) {
    // The link is gone, the fault service stays: pages that are here are still mapped when the
    // guest touches them.
    lanes_->shut_down();
    urgent_->shut_down();
  } else {
    if (!completed) {
      stop_threads();
      if (machine_parts_.faults) {
        [[maybe_unused]] const auto disarmed = machine_parts_.faults->disarm();
      }
    }
    trace_faults();
    close_channels();
  }
  {
    const std::lock_guard lock(mutex_);
    control_.reset();
    loop_.reset();
  }
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
