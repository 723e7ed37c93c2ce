#include <fmt/format.h>

#include "godwit/base/clock.h"
#include "godwit/base/log.h"
#include "godwit/base/thread.h"

#include "policy/lanes.h"
#include "policy/switch_policy.h"
#include "source/session_impl.h"

namespace godwit::engine {
Status SourceSession::Impl::begin_rounds() {
  if (runner_.state() != SourceState::kFinalRound) {
    // The handshake has deadlines; the rounds have time, and guests want the cores.
    take_rank(CpuRank::kBeside);
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
  if (options_.mode == Mode::kStopAndCopy || options_.mode == Mode::kPostcopy) {
    report_.ended_precopy.reason = SwitchReason::kMode;
    switch_reason_.store(SwitchReason::kMode, std::memory_order_relaxed);
  }
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
  const auto began_ns = monotonic_ns();
  GODWIT_TRY(tracking_->sync());
  const auto pending_before = plane_.ledger.pending_pages();
  last_dirtied_ = loss_.planted() ? loss_.absorb_dirty(announce, stopped_)
                                  : plane_.ledger.absorb_dirty(announce);
  newly_pending_ = plane_.ledger.pending_pages() - pending_before;
  last_sync_ns_.store(monotonic_ns() - began_ns, std::memory_order_relaxed);
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
  const auto pending = plane_.ledger.pending_pages();
  convergence_.note(round, pending);
  plane_.shrinks.store(convergence_.shrinks(), std::memory_order_relaxed);
  moved_per_s_.store(moved_per_s(round), std::memory_order_relaxed);
  dirtied_per_s_.store(dirtied_per_s(round), std::memory_order_relaxed);
  RoundEnd end;
  end.rounds_done = round_.load(std::memory_order_relaxed);
  end.pending_pages = pending;
  end.previous_pending_pages = previous_pending_;
  end.stalled_rounds = convergence_.stalled_rounds();
  if (const auto blackout = forecast()) {
    end.blackout_ns = blackout->total_ns();
  }
  end.target_maps = target_maps_;
  end.switch_requested = plane_.switch_requested.load(std::memory_order_acquire);
  previous_pending_ = pending;
  return obey(judge_round(options_, end), round, pending);
}

Status SourceSession::Impl::obey(const Judgement& judgement,
                                 const RoundReport& round,
                                 std::uint64_t pending_pages) {
  if (judgement.verdict == Verdict::kNextRound) {
    begin_round();
    return {};
  }
  const auto blackout = forecast();
  report_.ended_precopy = {.reason = judgement.reason,
                           .blackout_ns = blackout ? blackout->total_ns() : -1,
                           .moved_pages_per_s = moved_per_s(round),
                           .dirtied_pages_per_s = dirtied_per_s(round)};
  switch_reason_.store(judgement.reason, std::memory_order_relaxed);
  const auto rates = fmt::format(
      "{} pages are left after {} rounds, {:.0f} pages a second are "
      "moved and {:.0f} dirtied; the blackout would take {} ms",
      pending_pages,
      round_.load(std::memory_order_relaxed),
      moved_per_s(round),
      dirtied_per_s(round),
      report_.ended_precopy.blackout_ns / 1'000'000);
  if (judgement.verdict == Verdict::kGiveUp) {
    return fail(ErrorCode::kNotConverged, "pre-copy", rates);
  }
  if (judgement.reason == SwitchReason::kNotConverging) {
    log_warn("source: pre-copy does not converge: {}", rates);
  }
  runner_.push(judgement.verdict == Verdict::kSwitchLive ? SourceEvent::kSwitchLive
                                                         : SourceEvent::kSwitchPaused);
  return {};
}

std::optional<BlackoutForecast> SourceSession::Impl::forecast() const {
  const auto& sent = plane_.counters;
  return forecast_blackout(plane_.ledger.pending_pages(),
                           {.data_pages = sent.data_pages.load(std::memory_order_relaxed),
                            .data_ns = sent.data_ns.load(std::memory_order_relaxed),
                            .zero_pages = sent.zero_pages.load(std::memory_order_relaxed),
                            .zero_ns = sent.zero_ns.load(std::memory_order_relaxed),
                            .lanes = lane_count(options_.channels)},
                           round_trip_ns_.load(std::memory_order_relaxed),
                           last_sync_ns_.load(std::memory_order_relaxed),
                           vcpus_.load(std::memory_order_relaxed));
}

}  // namespace godwit::engine
