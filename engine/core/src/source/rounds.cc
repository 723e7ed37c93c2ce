#include <fmt/format.h>

#include "godwit/base/clock.h"
#include "godwit/base/thread.h"

#include "policy/switch_policy.h"
#include "source/session_impl.h"

namespace godwit::engine {
Status SourceSession::Impl::begin_rounds() {
  if (runner_.state() != SourceState::kFinalRound) {
    // The handshake has deadlines; the rounds have time, and guests want the cores.
    set_thread_role(ThreadRole::kBulk);
  }
  rounds_began_ns_.store(monotonic_ns(), std::memory_order_relaxed);
  if (runner_.state() == SourceState::kFinalRound) {
    // The guest is stopped: what is left goes now, inside the blackout.
    GODWIT_TRY(sync_dirty(in_band()));
    if (tracking_ == nullptr) {
      GODWIT_TRY(announce_populated(in_band()));
    }
    begin_round();
    return {};
  }
  stamps_.precopy_began_ns = monotonic_ns();
  if (options_.mode == Mode::kStopAndCopy) {
    runner_.push(SourceEvent::kSwitchPaused);
    return {};
  }
  if (tracking_ != nullptr) {
    // Armed before the scan: a page written for the first time meanwhile is found by one of the
    // two.
    GODWIT_TRY(tracking_->start(plane_.ledger.sink()));
    tracking_started_ = true;
    GODWIT_TRY(announce_populated(in_band()));
  }
  if (options_.mode == Mode::kPostcopy) {
    runner_.push(SourceEvent::kSwitchLive);
    return {};
  }
  begin_round();
  return {};
}

DirtyLedger::Announce SourceSession::Impl::in_band() {
  return [this](PageRun run) { lanes_->announce(run); };
}

Status SourceSession::Impl::announce_populated(const DirtyLedger::Announce& announce) {
  return guest_.populated().scan([&](PageRun run) { plane_.ledger.add_pending(run, announce); });
}

Status SourceSession::Impl::sync_dirty(const DirtyLedger::Announce& announce) {
  last_dirtied_ = 0;
  if (!tracking_started_) {
    return {};
  }
  GODWIT_TRY(tracking_->sync());
  const auto pending_before = plane_.ledger.pending_pages();
  last_dirtied_ = loss_.planted() ? loss_.absorb_dirty(announce, stopped_)
                                  : plane_.ledger.absorb_dirty(announce);
  newly_pending_ = plane_.ledger.pending_pages() - pending_before;
  return {};
}

void SourceSession::Impl::begin_round() {
  round_began_ns_ = monotonic_ns();
  pages_before_round_ = plane_.counters.precopy_pages.load(std::memory_order_relaxed);
  bytes_before_round_ = plane_.counters.frame_bytes.load(std::memory_order_relaxed);
  round_.fetch_add(1, std::memory_order_relaxed);
  lanes_->start_round(runner_.state() == SourceState::kPrecopy);
  ordered_ = Ordered::kRound;
}

void SourceSession::Impl::step(const Status& status) {
  if (!status) {
    runner_.note_error(status.error());
    runner_.push(SourceEvent::kLocalError);
  }
}

void SourceSession::Impl::order_done(Ordered ordered) {
  switch (ordered) {
    case Ordered::kRound:
      if (runner_.state() == SourceState::kPrecopy || runner_.state() == SourceState::kFinalRound) {
        step(end_round());
      }
      break;
    case Ordered::kBarrier:
      step(barrier_passed());
      break;
    case Ordered::kStream:
      runner_.push(SourceEvent::kAllSent);
      break;
    case Ordered::kNothing:
      break;
  }
}

Status SourceSession::Impl::end_round() {
  RoundReport round;
  round.began_ns = round_began_ns_;
  round.ns = monotonic_ns() - round_began_ns_;
  round.pages = plane_.counters.precopy_pages.load(std::memory_order_relaxed) - pages_before_round_;
  round.bytes = plane_.counters.frame_bytes.load(std::memory_order_relaxed) - bytes_before_round_;
  if (runner_.state() == SourceState::kFinalRound) {
    report_.rounds.push_back(round);
    runner_.push(SourceEvent::kRoundDone);
    return {};
  }
  GODWIT_TRY(sync_dirty(in_band()));
  round.dirtied_pages = last_dirtied_;
  report_.rounds.push_back(round);
  RoundEnd end;
  end.rounds_done = round_.load(std::memory_order_relaxed);
  end.pending_pages = plane_.ledger.pending_pages();
  end.previous_pending_pages = previous_pending_;
  end.bytes_per_s =
      round.ns > 0 ? static_cast<double>(round.bytes) * 1e9 / static_cast<double>(round.ns) : 0.0;
  end.target_maps = target_maps_;
  end.switch_requested = plane_.switch_requested.load(std::memory_order_acquire);
  if (end.bytes_per_s > 0) {
    bytes_per_s_ = end.bytes_per_s;
  } else {
    end.bytes_per_s = bytes_per_s_;
  }
  previous_pending_ = end.pending_pages;
  switch (judge_round(options_, end)) {
    case Verdict::kNextRound:
      begin_round();
      break;
    case Verdict::kSwitchLive:
      runner_.push(SourceEvent::kSwitchLive);
      break;
    case Verdict::kSwitchPaused:
      report_.downtime_limit_met = fits_downtime(options_, end);
      runner_.push(SourceEvent::kSwitchPaused);
      break;
    case Verdict::kGiveUp:
      return fail(
          ErrorCode::kNotConverged,
          "pre-copy",
          fmt::format(
              "{} pages are still dirty after {} rounds, which does not fit the downtime limit",
              end.pending_pages,
              end.rounds_done));
  }
  return {};
}

}  // namespace godwit::engine
