#include <fmt/format.h>

#include "godwit/base/clock.h"
#include "godwit/base/log.h"

#include "link/figures_codec.h"
#include "target/figures.h"
#include "target/session_impl.h"

namespace godwit::engine {

Status TargetSession::Impl::final_sync(const wire::FinalSync& sync) {
  auto& states = plane_->states();
  if (states.absent_pages() != sync.pending_pages || states.absent_hash() != sync.pending_hash) {
    return fail(ErrorCode::kProtocol,
                "final sync",
                fmt::format("the source has {} pages to send, the target misses {}",
                            sync.pending_pages,
                            states.absent_pages()));
  }
  if (!machine_parts_.faults && sync.pending_pages != 0) {
    return fail(ErrorCode::kProtocol,
                "final sync",
                "pages are to follow, though the description said that none would");
  }
  plane_->switch_over();
  stop_listening();  // strangers wait until the blackout is over
  return {};
}

void TargetSession::Impl::load() {
  trace_.load_began_ns = monotonic_ns();
  auto loaded = machine_parts_.guest->load_state(sections_);
  trace_.load_ended_ns = monotonic_ns();
  if (!loaded) {
    runner_.note_error(loaded.error());
    runner_.push(TargetEvent::kLoadFailed);
    return;
  }
  runner_.push(TargetEvent::kLoaded);
}

void TargetSession::Impl::run_guest() {
  trace_.run_began_ns = monotonic_ns();
  if (auto running = machine_parts_.guest->run(); !running) {
    runner_.note_error(running.error());
    runner_.push(running.error().code == ErrorCode::kRefused ? TargetEvent::kRunRefused
                                                             : TargetEvent::kLocalError);
    return;
  }
  trace_.run_ended_ns = monotonic_ns();
  tell_running();
  watch_listener();
  plane_->begin_sweep();
  lanes_->wake();  // one of the lanes maps what is valid from now on
}

void TargetSession::Impl::complete() {
  // The connections stay open until the source has heard of it: closing them first would look
  // like a lost link.
  stop_threads();
  if (machine_parts_.faults) {
    if (auto disarmed = machine_parts_.faults->disarm(); !disarmed) {
      log_warn("target: userfaultfd could not be unregistered: {}", disarmed.error().message());
    }
    // The memory goes to others now: nothing of ours may touch its registration again.
    machine_parts_.faults.reset();
  }
  trace_.first_run_ns = machine_parts_.guest->run_edge().first_ns;
  complete_ = to_wire(figures_of(*plane_, latencies_, trace_));
  control_->send(wire::MessageType::kComplete, *complete_);
}

}  // namespace godwit::engine
