#include <algorithm>

#include <fmt/format.h>

#include "godwit/base/clock.h"
#include "godwit/base/log.h"
#include "godwit/engine/states.h"

#include "link/figures_codec.h"
#include "source/session_impl.h"

namespace godwit::engine {

Status SourceSession::Impl::connect() {
  std::string why;
  tracking_ = options_.mode == Mode::kStopAndCopy ? nullptr : guest_.dirty_source(why);
  if (tracking_ == nullptr && (options_.mode == Mode::kHybrid || options_.mode == Mode::kPrecopy)) {
    return fail(ErrorCode::kUnsupported, "dirty tracking", why);
  }
  report_.dirty_source = tracking_ != nullptr ? tracking_->name() : "none";
  GODWIT_TRY_ASSIGN(
      auto channel,
      transport_->connect(ChannelKind::kControl, Deadline::after_ns(options_.timeout_ns)));
  return take_control(std::move(channel));
}

Status SourceSession::Impl::take_control(std::unique_ptr<Channel> channel) {
  control_ = std::make_unique<FrameChannel>(std::move(channel), wire::kMaxStateBody, kReadAhead);
  GODWIT_TRY(control_->attach(
      *runner_.loop(),
      {.on_frame = [this](const wire::FrameView& frame) { return on_control(frame); },
       .on_sent = nullptr,
       .on_error = [this](const Error& error) { on_link_error(error); }}));
  runner_.push(SourceEvent::kConnected);
  return {};
}

Status SourceSession::Impl::send_hello() {
  hello_sent_ns_ = monotonic_ns();
  control_->send(wire::MessageType::kHello, handshake_.hello(ChannelKind::kControl));
  return {};
}

Status SourceSession::Impl::describe() {
  auto description = guest_.describe();
  vcpus_.store(description.vcpus, std::memory_order_relaxed);
  wire::Describe message;
  message.prealloc = options_.prealloc;
  message.bulk_channels = static_cast<std::uint8_t>(options_.channels);
  message.postcopy_possible = options_.mode == Mode::kHybrid || options_.mode == Mode::kPostcopy;
  message.vcpus = description.vcpus;
  message.kind = description.kind;
  for (const auto& region : description.regions) {
    message.regions.push_back({region.gpa, region.page_count});
  }
  message.config = std::move(description.config);
  GODWIT_TRY(wire::validate(message));
  report_.pages_total = guest_.memory().page_count();
  control_->send(wire::MessageType::kDescribe, message);
  return {};
}

Status SourceSession::Impl::open_channels() {
  const auto deadline = Deadline::after_ns(options_.timeout_ns);
  lanes_ = std::make_unique<SourceLanes>(plane_, notes(), handshake_.hello(ChannelKind::kBulk));
  GODWIT_TRY(lanes_->open(*transport_, deadline));
  GODWIT_TRY_ASSIGN(auto urgent, transport_->connect(ChannelKind::kUrgent, deadline));
  urgent_ = std::make_unique<SourceUrgent>(
      plane_, *transport_, std::move(urgent), handshake_.hello(ChannelKind::kUrgent), notes());
  if (runner_.machine().decided()) {
    urgent_->allow_requests();  // before the target can ask
  }
  GODWIT_TRY(urgent_->start());
  report_.transport = transport_->name();
  report_.congestion = transport_->congestion();
  return {};
}

bool SourceSession::Impl::all_open() const {
  return lanes_ && lanes_->all_open() && urgent_ && urgent_->is_open();
}

SourceNotes SourceSession::Impl::notes() {
  return {.failed = [this](const Error& error) { runner_.fail(error); },
          .refused =
              [this](const wire::Refuse& refuse) {
                {
                  const std::lock_guard lock(refusal_mutex_);
                  refusal_ = refuse;
                }
                runner_.wake();
              },
          .progressed = [this] { runner_.wake(); }};
}

void SourceSession::Impl::on_link_error(const Error& error) {
  if (runner_.state() == SourceState::kCompleted) {
    return;
  }
  runner_.note_error(error);
  runner_.push(SourceEvent::kLinkLost);
}

void SourceSession::Impl::take_failures() {
  std::optional<wire::Refuse> refusal;
  {
    const std::lock_guard lock(refusal_mutex_);
    refusal.swap(refusal_);
  }
  if (refusal) {
    peer_gave_up(refusal->code, refusal->phase, refusal->text);
  }
  if (const auto error = runner_.take_failure()) {
    on_link_error(*error);
  }
}

Status SourceSession::Impl::on_control(const wire::FrameView& frame) {
  runner_.progressed();
  using wire::MessageType;
  switch (frame.header.type) {
    case MessageType::kWelcome:
      if (runner_.state() == SourceState::kResync || runner_.state() == SourceState::kRevoking) {
        GODWIT_TRY(handshake_.take_resumed(frame.body, *control_));
        if (runner_.state() == SourceState::kRevoking) {
          runner_.push(SourceEvent::kWelcome);
        }
        return {};
      }
      GODWIT_TRY(handshake_.take_session(frame.body, *control_));
      round_trip_ns_.store(monotonic_ns() - hello_sent_ns_, std::memory_order_relaxed);
      runner_.push(SourceEvent::kWelcome);
      return {};
    case MessageType::kAccept: {
      GODWIT_TRY_ASSIGN(auto accept, wire::decode_accept(frame.body));
      report_.target.placement = accept.placement;
      // Whatever the peer says: it was within the time since the begin.
      stamps_.prealloc_ns = static_cast<std::int64_t>(std::min(
          accept.prealloc_ns, static_cast<std::uint64_t>(monotonic_ns() - stamps_.began_ns)));
      report_.target.prealloc_ns = stamps_.prealloc_ns;
      target_maps_ = accept.placing_maps;
      if (runner_.state() != SourceState::kSetup || lanes_) {
        return fail(ErrorCode::kProtocol, "accept", "out of place");
      }
      // Rounds begin when the target has answered on all page channels: see look_around().
      if (const auto opened = open_channels(); !opened && !interrupted(opened.error())) {
        return opened;
      }
      return {};
    }
    case MessageType::kReady:
      GODWIT_TRY(check_epoch(frame, "READY"));
      on_ready();
      return {};
    case MessageType::kRunning: {
      GODWIT_TRY(check_epoch(frame, "RUNNING"));
      GODWIT_TRY_ASSIGN(running_, wire::decode_running(frame.body));
      target_runs_ = true;
      if (stamps_.running_received_ns == 0) {
        stamps_.running_received_ns = monotonic_ns();
      }
      if (runner_.state() != SourceState::kResync) {
        runner_.push(SourceEvent::kRunning);
      }
      return {};
    }
    case MessageType::kNotStarted: {
      // The one message that lets the source run its guest again after the decision.
      GODWIT_TRY(check_epoch(frame, "NOT_STARTED"));
      GODWIT_TRY_ASSIGN(auto not_started, wire::decode_not_started(frame.body));
      runner_.note_error(make_error(not_started.code, "target", not_started.text), "target");
      runner_.push(SourceEvent::kNotStarted);
      return {};
    }
    case MessageType::kComplete: {
      GODWIT_TRY_ASSIGN(const auto complete, wire::decode_complete(frame.body));
      take_figures(complete, report_.target);
      if (runner_.state() == SourceState::kResync) {
        note_recovered();
      }
      runner_.push(SourceEvent::kComplete);
      return {};
    }
    case MessageType::kCancelAck:
      runner_.push(SourceEvent::kCancelAcked);
      return {};
    case MessageType::kRefuse: {
      GODWIT_TRY_ASSIGN(auto refuse, wire::decode_refuse(frame.body));
      peer_gave_up(refuse.code, refuse.phase, refuse.text);
      return {};
    }
    case MessageType::kAbort: {
      GODWIT_TRY_ASSIGN(auto abort, wire::decode_abort(frame.body));
      peer_gave_up(abort.code, abort.phase, abort.text);
      return {};
    }
    default:
      return on_resync(frame);
  }
}

Status SourceSession::Impl::check_epoch(const wire::FrameView& frame, const char* what) const {
  if (frame.header.epoch != handshake_.epoch()) {
    return fail(ErrorCode::kProtocol, "epoch", fmt::format("{} of another epoch", what));
  }
  return {};
}

/// What is known already comes before the decision: a link that is broken, a cancel.
void SourceSession::Impl::on_ready() {
  if (runner_.state() == SourceState::kRevoking) {
    return;
  }
  take_failures();
  auto fate = Fate::kOpen;
  if (control_->broken() ||
      !fate_.compare_exchange_strong(fate, Fate::kDecided, std::memory_order_acq_rel)) {
    return;
  }
  runner_.push(SourceEvent::kReady);
}

void SourceSession::Impl::peer_gave_up(ErrorCode code,
                                       std::uint16_t phase,
                                       const std::string& text) {
  const auto state = phase >= 1 && phase <= static_cast<std::uint16_t>(TargetState::kFailed)
                         ? static_cast<TargetState>(phase)
                         : TargetState::kFailed;
  runner_.keep_error({make_error(code, "target", text), "target", std::string(to_string(state))});
  runner_.push(SourceEvent::kPeerAbort);
}

}  // namespace godwit::engine
