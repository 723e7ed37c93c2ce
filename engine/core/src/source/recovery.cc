#include <algorithm>
#include <bit>
#include <utility>

#include <fmt/format.h>

#include "godwit/base/clock.h"
#include "godwit/base/log.h"
#include "godwit/base/thread.h"

#include "source/session_impl.h"

// A link that is lost after the decision. The guest may be running at the target, so nothing is
// resumed here; what the target misses is here alone, so the link is dialled until it is back:
//
//   drop the link     channels and their threads end; what they had claimed is neither pending nor
//                     known to have arrived
//   dial              a control channel that names the session; the target begins another epoch
//   resync            the target says whether its guest runs and which pages it does not have; these,
//                     and no others, are pending
//   go on             page channels open; COMMIT again if the guest waits for it, else the stream
//
// A link that is lost just before the decision leaves a target that may be ready and does not know
// better. The guest goes on here at once; the target is dialled all the same, for as long as an answer
// is waited for (timeout_ns), to be told that it is not wanted any more.

namespace godwit::engine {

Status SourceSession::Impl::drop_link() {
  if (paused_from_ns_ == 0) {
    paused_from_ns_ = monotonic_ns();
  }
  if (urgent_) {
    urgent_->stop();
  }
  if (lanes_) {
    lanes_->halt();
    lanes_->stop();
  }
  shut_down_channels();
  forget_link();
  // What the other channels of this link had to say of its end is said.
  [[maybe_unused]] const auto echo = runner_.take_failure();
  const std::lock_guard lock(refusal_mutex_);
  refusal_.reset();
  return {};
}

void SourceSession::Impl::forget_link() {
  if (control_) {
    auto& channel = control_->channel();
    totals_.control_bytes += channel.bytes_sent() + channel.bytes_received();
  }
  if (urgent_) {
    totals_.urgent_bytes += urgent_->bytes_sent();
    totals_.demand_pages += urgent_->demand_pages();
    totals_.overtaken_pages += urgent_->overtaken_pages();
    totals_.urgent_payload_bytes += urgent_->payload_bytes();
  }
  if (lanes_) {
    totals_.bulk_bytes += lanes_->bytes_moved();
    totals_.waited_ns += lanes_->waited_ns();
    totals_.raised = totals_.raised || lanes_->raised();
  }
  control_.reset();
  lanes_.reset();
  urgent_.reset();
  ordered_ = Ordered::kNothing;
  missing_.clear();
  missing_pages_ = 0;
  missing_told_ = false;
  target_runs_ = false;
}

Status SourceSession::Impl::begin_reconnect() {
  take_rank(CpuRank::kFirst);
  window_.lost(monotonic_ns());
  if (may_dial(monotonic_ns())) {
    log_warn("source: the link is lost; the target is dialled again");
  }
  return {};
}

bool SourceSession::Impl::may_dial(std::int64_t now) const {
  if (runner_.state() == SourceState::kRevoking &&
      now - paused_from_ns_ > std::min(options_.timeout_ns, options_.recover_for_ns)) {
    return false;
  }
  // acquire: pairs with stop_reconnecting().
  return handshake_.recovers() && !window_.over(now) &&
         !give_up_link_.load(std::memory_order_acquire);
}

std::string SourceSession::Impl::why_not_dialled() const {
  if (!handshake_.recovers()) {
    return "recovery was not agreed on";
  }
  // acquire: pairs with stop_reconnecting().
  if (give_up_link_.load(std::memory_order_acquire)) {
    return "given up on request";
  }
  return fmt::format("the link did not come back within {} ms",
                     options_.recover_for_ns / 1'000'000);
}

bool SourceSession::Impl::dials() const {
  return runner_.state() == SourceState::kReconnecting ||
         (runner_.state() == SourceState::kRevoking && !control_);
}

std::optional<std::int64_t> SourceSession::Impl::wakes_at() const {
  return dials() ? std::optional(window_.next_ns()) : std::nullopt;
}

void SourceSession::Impl::dial() {
  const auto now = monotonic_ns();
  if (!may_dial(now)) {
    runner_.note_error(make_error(ErrorCode::kTimeout, "reconnect", why_not_dialled()));
    runner_.push(SourceEvent::kTimeout);
    return;
  }
  if (now < window_.next_ns()) {
    return;
  }
  const auto round_trip_ns = round_trip_ns_.load(std::memory_order_relaxed);
  auto channel = transport_->connect(ChannelKind::kControl,
                                     Deadline::after_ns(window_.attempt_ns(round_trip_ns)));
  if (!channel) {
    log_debug("source: {}", channel.error().message());
    window_.failed(monotonic_ns());
    return;
  }
  if (auto taken = take_control(std::move(*channel)); !taken) {
    control_.reset();
    window_.failed(monotonic_ns());
  }
}

Status SourceSession::Impl::on_resync(const wire::FrameView& frame) {
  switch (frame.header.type) {
    case wire::MessageType::kMissing: {
      GODWIT_TRY_ASSIGN(const auto missing, wire::decode_missing(frame.body));
      return take_missing(missing);
    }
    case wire::MessageType::kMissingEnd: {
      GODWIT_TRY(check_epoch(frame, "MISSING_END"));
      GODWIT_TRY_ASSIGN(const auto end, wire::decode_missing_end(frame.body));
      return end_missing(end);
    }
    default:
      return fail(ErrorCode::kProtocol, "control channel", "a message that does not belong here");
  }
}

Status SourceSession::Impl::take_missing(const wire::Missing& missing) {
  if (runner_.state() == SourceState::kRevoking) {
    return {};
  }
  if (runner_.state() != SourceState::kResync || missing_told_) {
    return fail(ErrorCode::kProtocol, "missing", "out of place");
  }
  const auto& sizes = plane_.ledger.region_pages();
  for (const auto& run : missing.runs) {
    const auto after = missing_.empty() ? PageRun{} : missing_.back();
    const bool ascends = missing_.empty() || run.region > after.region ||
                         (run.region == after.region && run.first >= after.end());
    if (run.region >= sizes.size() || run.end() > sizes[run.region] || !ascends) {
      return fail(ErrorCode::kProtocol,
                  "missing",
                  fmt::format("region {} pages {}+{} lie outside the guest's memory, or come twice",
                              run.region,
                              run.first,
                              run.count));
    }
    missing_pages_ += run.count;
    missing_.push_back(run);
  }
  if (missing_pages_ > pending_at_switch_) {
    return fail(ErrorCode::kProtocol,
                "missing",
                fmt::format("the target misses {} pages, of {} that were missing at the switch",
                            missing_pages_,
                            pending_at_switch_));
  }
  return {};
}

Status SourceSession::Impl::end_missing(const wire::MissingEnd& end) {
  if (runner_.state() == SourceState::kRevoking) {
    return {};
  }
  if (runner_.state() != SourceState::kResync || missing_told_) {
    return fail(ErrorCode::kProtocol, "missing", "out of place");
  }
  auto& ledger = plane_.ledger;
  std::uint64_t again = 0;
  ledger.give_back(missing_, [&](RegionIndex region, std::uint64_t word, std::uint64_t bits) {
    again += static_cast<unsigned>(std::popcount(bits));
    plane_.sent_after_switch[region].claim(word, bits);
  });
  if (missing_pages_ != end.pages || ledger.pending_pages() != end.pages ||
      ledger.pending_hash() != end.hash) {
    return fail(ErrorCode::kProtocol,
                "missing",
                fmt::format("the target misses {} pages, {} are left to be sent",
                            end.pages,
                            ledger.pending_pages()));
  }
  report_.recovery.resent_pages += again;
  window_.missing(end.pages);
  missing_told_ = true;
  log_info("source: connected again: {} pages are missing, {} of them were on their way",
           end.pages,
           again);
  return open_channels();
}

void SourceSession::Impl::note_recovered() {
  ++report_.recovery.count;
  report_.recovery.paused_ns += monotonic_ns() - std::exchange(paused_from_ns_, 0);
  runner_.forget_error();
}

void SourceSession::Impl::resynced() {
  missing_told_ = false;
  note_recovered();
  runner_.push(target_runs_ ? SourceEvent::kResyncedRunning : SourceEvent::kResyncedReady);
}

void SourceSession::Impl::stop_reconnecting() {
  // release: pairs with may_dial().
  give_up_link_.store(true, std::memory_order_release);
  if (runner_.state() == SourceState::kReconnecting || runner_.state() == SourceState::kResync) {
    transport_->interrupt();
  }
  runner_.wake();
}

bool SourceSession::Impl::recover(Transport* transport) {
  if (!ended() || runner_.state() != SourceState::kSuspended || !handshake_.recovers()) {
    return false;
  }
  if (thread_.joinable()) {
    thread_.join();
  }
  if (transport != nullptr) {
    transport_ = transport;
  }
  window_.reopen(monotonic_ns());
  give_up_link_.store(false, std::memory_order_release);
  ended_.store(false, std::memory_order_release);
  start_thread(&Impl::run_again);
  return true;
}

Result<bool> SourceSession::Impl::resume_fenced() {
  if (!ended() || runner_.state() != SourceState::kSuspended) {
    return false;
  }
  wait();
  log_warn("source: fenced by an operator: the guest runs on here as it was when it stopped");
  runner_.restart(SourceEvent::kFence);
  GODWIT_TRY(std::move(resumed_));
  return true;
}

void SourceSession::Impl::run_again() {
  auto loop = transport_->make_loop();
  if (!loop) {
    runner_.note_error(loop.error());
    finish();
    return;
  }
  runner_.open_loop(std::move(*loop));
  runner_.restart(SourceEvent::kRecover);
  runner_.run();
  finish();
}

}  // namespace godwit::engine
