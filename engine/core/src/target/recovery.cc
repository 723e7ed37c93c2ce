#include <utility>

#include "godwit/base/clock.h"
#include "godwit/base/log.h"

#include "link/page_run_writer.h"
#include "target/session_impl.h"

// A link that is lost after READY. Only the source knows whether the guest is to run here, and only
// it has the pages that are missing, so the target goes on listening, for the source of its session
// alone. The guest runs on what it has: faults on pages that are here are mapped as before, others
// wait and are asked for again.

namespace godwit::engine {

bool TargetSession::Impl::may_resume() const {
  switch (runner_.state()) {
    case TargetState::kReady:
    case TargetState::kUndecided:
    case TargetState::kRunning:
    case TargetState::kReconnecting:
    case TargetState::kResync:
    case TargetState::kConfirming:
    case TargetState::kUnconfirmed:
      return true;
    default:
      return false;
  }
}

void TargetSession::Impl::drop_link() {
  if (threads_stopped_) {
    urgent_.reset();  // all pages are here, and their channels have only stayed open
  } else {
    if (urgent_) {
      urgent_->drop_channel();
    }
    if (lanes_) {
      lanes_->shut_down();
    }
    stop_lanes();
  }
  lanes_.reset();
  if (control_) {
    control_->channel().shut_down();
  }
  control_.reset();
  all_open_ = false;
  [[maybe_unused]] const auto echo = runner_.take_failure();
  if (handshake_.recovers() && !runner_.machine().ended()) {
    if (!resumed_) {
      log_warn("target: the link is lost; its source is waited for");
    }
    watch_listener();
  }
}

void TargetSession::Impl::take_link() {
  control_ =
      std::make_unique<FrameChannel>(std::move(resumed_), wire::kMaxStateBody, kReadAhead, 1);
  control_->agree(handshake_.session());
  if (auto attached = control_->attach(
          *runner_.loop(),
          {.on_frame = [this](const wire::FrameView& frame) { return on_control(frame); },
           .on_sent = nullptr,
           .on_error = [this](const Error& error) { on_link_error(error); }});
      !attached) {
    on_link_error(attached.error());
    control_.reset();
    return;
  }
  control_->send(wire::MessageType::kWelcome, handshake_.session());
}

void TargetSession::Impl::tell_running() {
  control_->send(wire::MessageType::kRunning,
                 wire::Running{static_cast<std::uint64_t>(load_ns()),
                               static_cast<std::uint64_t>(resume_ns())});
}

void TargetSession::Impl::tell_missing() {
  if (!control_) {
    return;
  }
  make_lanes();
  if (runner_.state() != TargetState::kReady) {
    tell_running();
  }
  const auto& states = plane_->states();
  {
    PageRunWriter<wire::Missing> missing(*control_, wire::MessageType::kMissing);
    states.for_each_absent([&](PageRun run) { missing.add(run); }, nullptr);
  }
  control_->send(wire::MessageType::kMissingEnd,
                 wire::MissingEnd{states.absent_pages(), states.absent_hash()});
}

void TargetSession::Impl::tell_complete() {
  if (!control_) {
    return;
  }
  tell_running();
  control_->send(wire::MessageType::kComplete, *complete_);
}

}  // namespace godwit::engine
