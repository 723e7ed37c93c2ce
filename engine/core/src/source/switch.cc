#include <utility>

#include "godwit/base/clock.h"
#include "godwit/base/log.h"
#include "godwit/base/thread.h"

#include "link/page_run_writer.h"
#include "policy/switch_policy.h"
#include "source/session_impl.h"

namespace godwit::engine {

Status SourceSession::Impl::send_barrier() {
  take_rank(CpuRank::kFirst);
  lanes_->send_barrier(++barrier_id_);
  ordered_ = Ordered::kBarrier;
  return {};
}

Status SourceSession::Impl::barrier_passed() {
  if (runner_.state() == SourceState::kBarrier && tracking_started_ &&
      repeats_barrier({.barriers_sent = barrier_id_,
                       .newly_pending_pages = newly_pending_,
                       .target_maps = target_maps_})) {
    GODWIT_TRY(sync_dirty(in_band()));
    return send_barrier();
  }
  runner_.push(SourceEvent::kBarrierAcked);
  return {};
}

Status SourceSession::Impl::quiesce() {
  take_rank(CpuRank::kFirst);
  if (runner_.state() == SourceState::kQuiesce) {
    // The guest still runs: what it wrote since the last sync is told now, so that little is left
    // for the blackout.
    {
      StaleWriter stale(*control_);
      GODWIT_TRY(sync_dirty([&](PageRun run) { stale.add(run); }));
    }
    GODWIT_TRY(flush_control());
  }
  stopped_ = true;  // a stop that fails half-way is taken back like one that succeeds
  GODWIT_TRY_ASSIGN(report_.stopped, guest_.quiesce());
  stamps_.quiesced_ns = monotonic_ns();
  runner_.push(SourceEvent::kQuiesced);
  return {};
}

/// Sends what waits for the control channel now, and not behind the next thing.
Status SourceSession::Impl::flush_control() {
  const auto deadline = Deadline::after_ns(options_.timeout_ns);
  while (!control_->idle() && !control_->broken()) {
    if (deadline.passed()) {
      return fail(ErrorCode::kTimeout, "announcements", "the target takes nothing any more");
    }
    GODWIT_TRY(runner_.loop()->run_once(deadline));
  }
  if (control_->broken()) {
    return fail(ErrorCode::kClosed, "announcements", "the control channel broke");
  }
  return {};
}

Status SourceSession::Impl::send_state() {
  const bool pages_follow = options_.mode == Mode::kHybrid || options_.mode == Mode::kPostcopy;
  {
    StaleWriter stale(*control_);
    const auto announce = [&](PageRun run) { stale.add(run); };
    GODWIT_TRY(sync_dirty(announce));
    if (options_.mode == Mode::kPostcopy && tracking_ == nullptr) {
      GODWIT_TRY(announce_populated(announce));
    }
  }
  if (!pages_follow && plane_.ledger.pending_pages() != 0) {
    return fail(
        ErrorCode::kInternal, "final sync", "pages were written after the guest had stopped");
  }
  pending_at_switch_ = plane_.ledger.pending_pages();
  urgent_->allow_requests();
  control_->send(wire::MessageType::kFinalSync,
                 wire::FinalSync{pending_at_switch_, plane_.ledger.pending_hash()});
  stamps_.synced_ns = monotonic_ns();
  wire::State state;
  GODWIT_TRY_ASSIGN(state.sections, guest_.save_state());
  GODWIT_TRY(wire::validate(state));
  control_->send(wire::MessageType::kState, state);
  stamps_.saved_ns = monotonic_ns();
  return {};
}

Status SourceSession::Impl::send_commit() {
  if (stamps_.committed_ns == 0) {
    stamps_.committed_ns = monotonic_ns();
  }
  control_->send(wire::MessageType::kCommit, wire::Commit{});
  return {};
}

Status SourceSession::Impl::begin_stream() {
  take_rank(CpuRank::kBeside);
  plane_.scheduler.prepare_background();
  lanes_->start_stream();
  ordered_ = Ordered::kStream;
  return {};
}

void SourceSession::Impl::resume() {
  if (tracking_started_) {
    tracking_->stop();
    tracking_started_ = false;
  }
  if (!std::exchange(stopped_, false)) {
    return;
  }
  resumed_ = guest_.resume();
  if (!resumed_) {
    log_error("source: the guest could not be resumed: {}", resumed_.error().message());
  }
}

}  // namespace godwit::engine
