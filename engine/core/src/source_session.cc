#include "godwit/engine/source_session.h"

#include <deque>
#include <mutex>
#include <optional>
#include <thread>

#include <fmt/format.h>

#include "godwit/base/clock.h"
#include "godwit/base/log.h"
#include "godwit/base/thread.h"
#include "godwit/engine/bandwidth.h"
#include "godwit/engine/convergence.h"
#include "godwit/engine/target_machine.h"
#include "godwit/wire/negotiate.h"

#include "batch_builder.h"
#include "figures.h"
#include "frame_channel.h"
#include "source_urgent.h"

namespace godwit::engine {
namespace {

constexpr std::size_t kControlReadAhead = 8192;
constexpr std::int64_t kFlushNs = 1'000'000'000;
constexpr std::uint64_t kBarrierId = 1;

std::vector<std::uint64_t> pages_of(const GuestMemory& memory) {
  std::vector<std::uint64_t> pages;
  for (const auto& region : memory.regions) {
    pages.push_back(region.page_count);
  }
  return pages;
}

/// Collects announcements into STALE frames.
class Announcer {
 public:
  explicit Announcer(FrameChannel& channel) : channel_(channel) {}
  ~Announcer() { flush(); }
  Announcer(const Announcer&) = delete;
  Announcer& operator=(const Announcer&) = delete;
  void add(PageRun run) {
    stale_.runs.push_back(run);
    if (stale_.runs.size() == wire::kMaxStaleRuns) {
      flush();
    }
  }

 private:
  void flush() {
    if (!stale_.runs.empty()) {
      channel_.send(wire::MessageType::kStale, stale_);
      stale_.runs.clear();
    }
  }
  FrameChannel& channel_;
  wire::Stale stale_;
};

}  // namespace

// The migration thread. It runs the machine (source_machine.h) on the events that channels, guest
// and commands bring, does what the machine's transitions ask, and between events keeps the bulk
// channel full: see pump().
class SourceSession::Impl {
 public:
  Impl(SourceGuest& guest, Transport& transport, SourceOptions options)
      : guest_(guest),
        transport_(transport),
        options_(std::move(options)),
        ledger_(pages_of(guest.memory())),
        scheduler_(ledger_),
        sent_after_switch_(ledger_.region_pages()),
        pacer_(options_.max_bandwidth),
        frames_{BatchBuilder(guest.memory(), options_), BatchBuilder(guest.memory(), options_)} {}

  void start() {
    thread_ = start_thread("godwit-migrate", ThreadRole::kBulk, [this] { run(); });
  }
  const MigrationReport& wait() {
    if (thread_.joinable()) {
      thread_.join();
    }
    return report_;
  }
  [[nodiscard]] bool ended() const { return ended_.load(std::memory_order_acquire); }
  void request_switch() {
    switch_requested_.store(true, std::memory_order_release);
    wake();
  }
  bool request_cancel() {
    if (decided_.load(std::memory_order_acquire)) {
      return false;
    }
    cancel_requested_.store(true, std::memory_order_release);
    wake();
    return true;
  }
  [[nodiscard]] SourceState state() const { return state_.load(std::memory_order_acquire); }
  [[nodiscard]] Progress progress() const {
    Progress progress;
    progress.phase = to_string(state());
    progress.round = round_.load(std::memory_order_relaxed);
    progress.sent_pages = sent_pages_.load(std::memory_order_relaxed);
    progress.remaining_pages = ledger_.pending_pages();
    const auto elapsed = monotonic_ns() - rounds_began_ns_.load(std::memory_order_relaxed);
    if (elapsed > 0 && rounds_began_ns_.load(std::memory_order_relaxed) != 0) {
      const double rate = static_cast<double>(progress.sent_pages * kPageBytes) * 1e9 /
                          static_cast<double>(elapsed);
      progress.bytes_per_s = static_cast<std::uint64_t>(rate);
      if (rate > 0) {
        progress.eta_ns = static_cast<std::int64_t>(
            static_cast<double>(progress.remaining_pages * kPageBytes) / rate * 1e9);
      }
    }
    return progress;
  }

 private:
  void wake() {
    const std::lock_guard lock(loop_mutex_);
    if (loop_ != nullptr) {
      loop_->wake();
    }
  }

  // ------------------------------------------------------------------------------------------ the
  // thread
  void run() {
    began_ns_ = monotonic_ns();
    progress_ns_ = began_ns_;
    auto loop = transport_.make_loop();
    if (!loop) {
      note_error(loop.error(), "source");
      fire(SourceEvent::kStart, false);
      push(SourceEvent::kLocalError);
    } else {
      const std::lock_guard lock(loop_mutex_);
      loop_ = std::move(*loop);
    }
    if (loop_ != nullptr) {
      push(SourceEvent::kStart);
    }
    while (true) {
      while (!events_.empty() && !machine_.ended()) {
        const auto event = events_.front();
        events_.pop_front();
        fire(event, true);
      }
      if (machine_.ended()) {
        break;
      }
      look_around();
      if (events_.empty()) {
        const bool more = pump();
        if (events_.empty()) {
          wait_for_events(more);
        }
      }
    }
    finish();
  }

  void wait_for_events(bool poll) {
    auto deadline = Deadline{poll ? 0 : next_look_ns()};
    if (auto ran = loop_->run_once(deadline); !ran) {
      note_error(ran.error(), "source");
      push(SourceEvent::kLocalError);
    }
  }

  [[nodiscard]] std::int64_t next_look_ns() const {
    std::int64_t at = machine_.decided() ? INT64_MAX : progress_ns_ + options_.timeout_ns + 1;
    if (waiting_for_pacer_) {
      at = std::min(at, pacer_.next_ns());
    }
    return at;
  }

  /// Commands, the other thread's news, and the deadline.
  void look_around() {
    if (machine_.state() == SourceState::kSetup && bulk_open_ &&
        urgent_open_.load(std::memory_order_acquire) && !accepted_) {
      accepted_ = true;
      push(SourceEvent::kAccepted);
    }
    if (cancel_requested_.exchange(false, std::memory_order_acq_rel) && !machine_.decided() &&
        machine_.state() != SourceState::kCancelling) {
      cancelled_ = true;
      note_error(make_error(ErrorCode::kCancelled, "cancel", "cancelled on request"), "source");
      push(SourceEvent::kCancel);
      return;
    }
    if (!machine_.decided() && monotonic_ns() - progress_ns_ > options_.timeout_ns) {
      note_error(make_error(ErrorCode::kTimeout,
                            "deadline",
                            fmt::format("no progress for {} ms in phase {}",
                                        options_.timeout_ns / 1'000'000,
                                        to_string(machine_.state()))),
                 "source");
      progress_ns_ = monotonic_ns();
      push(SourceEvent::kTimeout);
    }
  }

  void push(SourceEvent event) { events_.push_back(event); }

  void note_error(const Error& error, const char* side) {
    if (!report_.error) {
      report_.error = EndError{error, side, std::string(to_string(machine_.state()))};
      log_error("source: {} in phase {}", error.message(), to_string(machine_.state()));
    }
  }

  void fire(SourceEvent event, bool act) {
    const auto before = machine_.state();
    const auto* transition = machine_.on(event);
    if (transition == nullptr) {
      // Only a peer can bring an event that is not legal: a late echo of a cancel is the one that
      // is harmless.
      if (event == SourceEvent::kReady || event == SourceEvent::kRunning ||
          event == SourceEvent::kComplete || event == SourceEvent::kAccepted ||
          event == SourceEvent::kBarrierAcked) {
        if (before != SourceState::kCancelling) {
          note_error(
              make_error(
                  ErrorCode::kProtocol,
                  "message",
                  fmt::format("{} is not legal in phase {}", to_string(event), to_string(before))),
              "source");
          push(SourceEvent::kLinkLost);
        }
      }
      return;
    }
    state_.store(machine_.state(), std::memory_order_release);
    decided_.store(machine_.decided(), std::memory_order_release);
    log_debug(
        "source: {} + {} -> {}", to_string(before), to_string(event), to_string(machine_.state()));
    progress_ns_ = monotonic_ns();
    if (act) {
      perform(transition->actions);
    }
  }

  void perform(std::uint32_t actions) {
    const auto attempt = [&](std::uint32_t action, Status (Impl::*member)()) {
      if ((actions & action) == 0) {
        return true;
      }
      if (auto done = (this->*member)(); !done) {
        note_error(done.error(), "source");
        const bool link =
            done.error().code == ErrorCode::kClosed || done.error().code == ErrorCode::kProtocol;
        push(link ? SourceEvent::kLinkLost : SourceEvent::kLocalError);
        return false;
      }
      return true;
    };
    // Nothing fails a rollback or a hold; everything else stops at its first failure, which is then
    // an event.
    if (!attempt(kActConnect, &Impl::connect) || !attempt(kActSendHello, &Impl::send_hello) ||
        !attempt(kActDescribe, &Impl::describe) || !attempt(kActStartRounds, &Impl::begin_rounds) ||
        !attempt(kActSendBarrier, &Impl::send_barrier) || !attempt(kActQuiesce, &Impl::quiesce) ||
        !attempt(kActSendState, &Impl::send_state) ||
        !attempt(kActSendCommit, &Impl::send_commit) || !attempt(kActStream, &Impl::begin_stream)) {
      return;
    }
    if ((actions & kActFinish) != 0) {
      control_->send(wire::MessageType::kFinish, wire::Finish{});
    }
    if ((actions & kActSendCancel) != 0 && control_ && !control_->broken()) {
      control_->send(wire::MessageType::kCancel,
                     wire::Cancel{report_.error ? report_.error->error.message() : "cancelled"});
    }
    if ((actions & kActResume) != 0) {
      resume();
    }
    if ((actions & kActHold) != 0) {
      log_error("source: holding: the guest is not resumed here and its memory is kept");
    }
  }

  // ------------------------------------------------------------------------------------------
  // connecting
  Status connect() {
    std::string why;
    tracking_ = options_.mode == Mode::kStopAndCopy ? nullptr : guest_.dirty_source(why);
    if (tracking_ == nullptr &&
        (options_.mode == Mode::kHybrid || options_.mode == Mode::kPrecopy)) {
      return fail(ErrorCode::kUnsupported, "dirty tracking", why);
    }
    report_.dirty_source = tracking_ != nullptr ? tracking_->name() : "none";
    GODWIT_TRY_ASSIGN(
        auto channel,
        transport_.connect(ChannelKind::kControl, Deadline::after_ns(options_.timeout_ns)));
    control_ =
        std::make_unique<FrameChannel>(std::move(channel), wire::kMaxStateBody, kControlReadAhead);
    GODWIT_TRY(control_->attach(
        *loop_,
        {.on_frame = [this](const wire::FrameView& frame) { return on_control(frame); },
         .on_sent = [this] { maybe_cut(); },
         .on_error = [this](const Error& error) { on_link_error(error); }}));
    push(SourceEvent::kConnected);
    return {};
  }

  [[nodiscard]] wire::Hello hello(wire::ChannelKind kind) const {
    wire::Hello hello;
    hello.versions_offered = {wire::kProtocolVersion};
    hello.features_offered = wire::kFeatureZeroRuns | wire::kFeaturePostcopy;
    if (options_.checksum) {
      hello.features_offered |= wire::kFeatureBodyHash;
    }
    hello.features_required = options_.checksum ? wire::kFeatureBodyHash : 0;
    hello.session_id = session_id_;
    hello.role = wire::Role::kSource;
    hello.channel_kind = kind;
    hello.session_epoch = epoch_;
    return hello;
  }

  Status send_hello() {
    control_->send(wire::MessageType::kHello, hello(wire::ChannelKind::kControl));
    return {};
  }

  Status describe() {
    const auto description = guest_.describe();
    wire::Describe message;
    message.mode = static_cast<wire::Mode>(options_.mode);
    message.prealloc = options_.prealloc;
    message.postcopy_possible = options_.mode == Mode::kHybrid || options_.mode == Mode::kPostcopy;
    message.vcpus = description.vcpus;
    message.kind = description.kind;
    for (const auto& region : description.regions) {
      message.regions.push_back({region.gpa, region.page_count});
    }
    message.config = to_wire(description.config);
    GODWIT_TRY(wire::validate(message));
    report_.pages_total = guest_.memory().page_count();
    control_->send(wire::MessageType::kDescribe, message);
    return {};
  }

  Status open_channels() {
    const auto deadline = Deadline::after_ns(options_.timeout_ns);
    GODWIT_TRY_ASSIGN(auto bulk, transport_.connect(ChannelKind::kBulk, deadline));
    bulk_ =
        std::make_unique<FrameChannel>(std::move(bulk), wire::kMaxControlBody, kControlReadAhead);
    GODWIT_TRY(
        bulk_->attach(*loop_,
                      {.on_frame = [this](const wire::FrameView& frame) { return on_bulk(frame); },
                       .on_sent = [this] { on_bulk_sent(); },
                       .on_error = [this](const Error& error) { on_link_error(error); }}));
    bulk_->send(wire::MessageType::kHello, hello(wire::ChannelKind::kBulk));
    GODWIT_TRY_ASSIGN(auto urgent, transport_.connect(ChannelKind::kUrgent, deadline));
    urgent_ = std::make_unique<SourceUrgent>(
        SourceUrgent::Shared{
            guest_.memory(), options_, ledger_, scheduler_, sent_after_switch_, sent_twice_},
        transport_,
        std::move(urgent),
        hello(wire::ChannelKind::kUrgent),
        SourceUrgent::Events{.opened =
                                 [this] {
                                   urgent_open_.store(true, std::memory_order_release);
                                   wake();
                                 },
                             .failed =
                                 [this](const Error& error) {
                                   const std::lock_guard lock(loop_mutex_);
                                   urgent_error_ = error;
                                   loop_->wake();
                                 }});
    GODWIT_TRY(urgent_->start());
    report_.transport = transport_.name();
    report_.congestion = transport_.congestion();
    return {};
  }

  void on_link_error(const Error& error) {
    if (machine_.state() == SourceState::kCompleted) {
      return;
    }
    note_error(error, "source");
    push(SourceEvent::kLinkLost);
  }

  // ------------------------------------------------------------------------------------------
  // messages
  Status on_control(const wire::FrameView& frame) {
    progress_ns_ = monotonic_ns();
    using wire::MessageType;
    switch (frame.header.type) {
      case MessageType::kWelcome: {
        GODWIT_TRY_ASSIGN(auto welcome, wire::decode_welcome(frame.body));
        GODWIT_TRY(wire::check_welcome(hello(wire::ChannelKind::kControl), welcome));
        session_id_ = welcome.session_id;
        epoch_ = welcome.session_epoch;
        control_->agree(welcome);
        control_->set_epoch(epoch_);
        push(SourceEvent::kWelcome);
        return {};
      }
      case MessageType::kAccept: {
        GODWIT_TRY_ASSIGN(auto accept, wire::decode_accept(frame.body));
        report_.target.placement = accept.placement;
        prealloc_ns_ = static_cast<std::int64_t>(accept.prealloc_ns);
        if (machine_.state() != SourceState::kSetup || bulk_) {
          return fail(ErrorCode::kProtocol, "accept", "out of place");
        }
        // Rounds begin when the target has answered on both page channels: see channel_open().
        GODWIT_TRY(open_channels());
        return {};
      }
      case MessageType::kReady:
        if (frame.header.epoch != epoch_) {
          return fail(ErrorCode::kProtocol, "ready", "READY of another epoch");
        }
        if (options_.injection.fault == InjectedFault::kCutBeforeCommit) {
          cut("injected: the link is cut before COMMIT");
          return {};
        }
        push(SourceEvent::kReady);
        return {};
      case MessageType::kRunning: {
        GODWIT_TRY_ASSIGN(running_, wire::decode_running(frame.body));
        running_received_ns_ = monotonic_ns();
        push(SourceEvent::kRunning);
        return {};
      }
      case MessageType::kNotStarted: {
        GODWIT_TRY_ASSIGN(auto not_started, wire::decode_not_started(frame.body));
        note_error(make_error(not_started.code, "target", not_started.text), "target");
        push(SourceEvent::kNotStarted);
        return {};
      }
      case MessageType::kComplete: {
        GODWIT_TRY_ASSIGN(auto complete, wire::decode_complete(frame.body));
        GODWIT_TRY_ASSIGN(report_.target, decode_figures(complete.figures));
        push(SourceEvent::kComplete);
        return {};
      }
      case MessageType::kCancelAck:
        push(SourceEvent::kCancelAcked);
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
        return fail(ErrorCode::kProtocol, "control channel", "a message that does not belong here");
    }
  }

  void peer_gave_up(ErrorCode code, std::uint16_t phase, const std::string& text) {
    if (!report_.error) {
      const auto state = phase >= 1 && phase <= static_cast<std::uint16_t>(TargetState::kFailed)
                             ? static_cast<TargetState>(phase)
                             : TargetState::kFailed;
      report_.error =
          EndError{make_error(code, "target", text), "target", std::string(to_string(state))};
    }
    push(SourceEvent::kPeerAbort);
  }

  Status on_bulk(const wire::FrameView& frame) {
    progress_ns_ = monotonic_ns();
    switch (frame.header.type) {
      case wire::MessageType::kWelcome:
        bulk_open_ = true;
        return {};
      case wire::MessageType::kBarrierAck: {
        GODWIT_TRY_ASSIGN(auto ack, wire::decode_barrier_ack(frame.body));
        if (ack.id != kBarrierId) {
          return fail(ErrorCode::kProtocol, "barrier", "acknowledgement of another barrier");
        }
        push(SourceEvent::kBarrierAcked);
        return {};
      }
      case wire::MessageType::kRefuse: {
        GODWIT_TRY_ASSIGN(auto refuse, wire::decode_refuse(frame.body));
        peer_gave_up(refuse.code, refuse.phase, refuse.text);
        return {};
      }
      default:
        return fail(ErrorCode::kProtocol, "bulk channel", "a message that does not belong here");
    }
  }

  // ------------------------------------------------------------------------------------------
  // pre-copy
  Status begin_rounds() {
    rounds_began_ns_.store(monotonic_ns(), std::memory_order_relaxed);
    if (machine_.state() == SourceState::kFinalRound) {
      // The guest is stopped: what is left goes now, inside the blackout.
      GODWIT_TRY(sync_dirty(*bulk_));
      if (tracking_ == nullptr) {
        GODWIT_TRY(announce_populated(*bulk_));
      }
      begin_round();
      return {};
    }
    precopy_began_ns_ = monotonic_ns();
    if (options_.mode == Mode::kStopAndCopy) {
      push(SourceEvent::kSwitchPaused);
      return {};
    }
    if (tracking_ != nullptr) {
      collector_.attach(ledger_.dirty());
      // Armed before the scan: a page written for the first time meanwhile is found by one of the
      // two.
      GODWIT_TRY(tracking_->start(collector_));
      tracking_started_ = true;
      GODWIT_TRY(announce_populated(*bulk_));
    }
    if (options_.mode == Mode::kPostcopy) {
      push(SourceEvent::kSwitchLive);
      return {};
    }
    begin_round();
    return {};
  }

  Status announce_populated(FrameChannel& channel) {
    Announcer announcer(channel);
    return guest_.populated().scan(
        [&](PageRun run) { ledger_.add_pending(run, [&](PageRun part) { announcer.add(part); }); });
  }

  /// Harvests the dirty source into the ledger and tells the target.
  Status sync_dirty(FrameChannel& channel) {
    last_dirtied_ = 0;
    if (!tracking_started_) {
      return {};
    }
    GODWIT_TRY(tracking_->sync());
    Announcer announcer(channel);
    const auto announce = [&](PageRun run) { announcer.add(run); };
    const bool lose = options_.injection.fault == InjectedFault::kStalePage;
    last_dirtied_ =
        lose ? ledger_.absorb_dirty_losing(announce, [this](PageId page) { return loses(page); })
             : ledger_.absorb_dirty(announce);
    return {};
  }

  /// Chooses the first page that the guest would miss, and goes on losing its marks.
  bool loses(PageId page) {
    if (report_.injected_page) {
      return *report_.injected_page == page;
    }
    for (const auto& run : options_.injection.candidates) {
      if (run.region == page.region && page.index >= run.first && page.index < run.end() &&
          !ledger_.pending()[page.region].test(page.index)) {
        report_.injected_page = page;
        return true;
      }
    }
    return false;
  }

  void begin_round() {
    scheduler_.start_round();
    round_began_ns_ = monotonic_ns();
    round_report_ = {};
    round_.fetch_add(1, std::memory_order_relaxed);
    in_round_ = true;
  }

  Status end_round() {
    in_round_ = false;
    round_report_.ns = monotonic_ns() - round_began_ns_;
    if (machine_.state() == SourceState::kFinalRound) {
      report_.rounds.push_back(round_report_);
      push(SourceEvent::kRoundDone);
      return {};
    }
    GODWIT_TRY(sync_dirty(*bulk_));
    round_report_.dirtied_pages = last_dirtied_;
    report_.rounds.push_back(round_report_);
    RoundEnd end;
    end.rounds_done = round_.load(std::memory_order_relaxed);
    end.pending_pages = ledger_.pending_pages();
    end.previous_pending_pages = previous_pending_;
    end.bytes_per_s = round_report_.ns > 0 ? static_cast<double>(round_report_.bytes) * 1e9 /
                                                 static_cast<double>(round_report_.ns)
                                           : 0.0;
    end.switch_requested = switch_requested_.load(std::memory_order_acquire);
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
        push(SourceEvent::kSwitchLive);
        break;
      case Verdict::kSwitchPaused:
        report_.downtime_limit_met = fits_downtime(options_, end);
        push(SourceEvent::kSwitchPaused);
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

  // ------------------------------------------------------------------------------------------ bulk
  /// Keeps the bulk channel busy; returns whether it has more to do right now.
  bool pump() {
    if (urgent_failed()) {
      return true;
    }
    waiting_for_pacer_ = false;
    const bool streaming = machine_.state() == SourceState::kPostcopy;
    if ((!in_round_ && !streaming) || !bulk_ || bulk_->broken() || !bulk_->idle()) {
      return false;
    }
    if (in_round_ && switch_requested_.load(std::memory_order_acquire) &&
        machine_.state() == SourceState::kPrecopy && !have_next_) {
      step(end_round());
      return true;
    }
    if (!have_next_ && !prepare_next(streaming)) {
      if (streaming) {
        bulk_->send(wire::MessageType::kBackgroundEnd, wire::BackgroundEnd{background_pages_});
        push(SourceEvent::kAllSent);
      } else {
        step(end_round());
      }
      return true;
    }
    const auto now = monotonic_ns();
    if (!pacer_.may_send(now)) {
      waiting_for_pacer_ = true;
      progress_ns_ = now;
      return false;
    }
    send_next(now);
    // The socket works on this frame while the next is copied and hashed. Not so after the switch:
    // there a page is claimed only when the socket can take it, so that a demand request seldom
    // finds its page in a waiting frame.
    if (streaming || !events_.empty() || !loop_->run_once(Deadline{0})) {
      return true;
    }
    if (in_round_ && !switch_requested_.load(std::memory_order_acquire)) {
      prepare_next(false);
    }
    return bulk_->idle();
  }

  void step(const Status& status) {
    if (!status) {
      note_error(status.error(), "source");
      push(SourceEvent::kLocalError);
    }
  }

  bool urgent_failed() {
    std::optional<Error> error;
    {
      const std::lock_guard lock(loop_mutex_);
      error.swap(urgent_error_);
    }
    if (!error) {
      return false;
    }
    on_link_error(*error);
    return true;
  }

  bool prepare_next(bool streaming) {
    PageBatchPlan plan;
    have_next_ = streaming ? scheduler_.next_background(plan) : scheduler_.next_in_round(plan);
    if (!have_next_) {
      return false;
    }
    const bool live = !streaming && machine_.state() != SourceState::kFinalRound;
    frames_[next_frame_].build(
        plan, streaming ? wire::PagePhase::kBackground : wire::PagePhase::kPrecopy, live);
    return true;
  }

  void send_next(std::int64_t now) {
    auto& frame = frames_[next_frame_];
    bulk_->send_pages(frame.parts(),
                      frame.body_length(),
                      frame.body_hash(),
                      options_.checksum ? 0 : wire::kNoBodyHash);
    pacer_.spent(frame.body_length(), now);
    on_the_way_ = &frame;
    next_frame_ ^= 1U;
    have_next_ = false;
    account(frame);
  }

  void account(const BatchBuilder& frame) {
    const auto pages = frame.data_pages() + frame.zero_pages();
    sent_pages_.fetch_add(pages, std::memory_order_relaxed);
    report_.pages_zero += frame.zero_pages();
    report_.payload_bytes += std::uint64_t{frame.data_pages()} * kPageBytes;
    if (machine_.state() == SourceState::kPostcopy) {
      background_pages_ += pages;
      report_.pages_prefetched += frame.plan().prefetched;
      for (std::uint32_t i = 0; i < frame.plan().count; ++i) {
        const auto page = frame.plan().pages[i];
        const auto mask = 1ULL << (page % 64);
        if ((sent_after_switch_[frame.plan().region].set(page / 64, mask) & mask) != 0) {
          sent_twice_.fetch_add(1, std::memory_order_relaxed);
        }
      }
    } else {
      precopy_pages_ += pages;
      round_report_.pages += pages;
      round_report_.bytes += frame.body_length();
    }
  }

  void on_bulk_sent() {
    progress_ns_ = monotonic_ns();
    if (on_the_way_ == nullptr) {
      return;
    }
    const auto& plan = on_the_way_->plan();
    for (std::uint32_t i = 0; i < plan.count; ++i) {
      ledger_.landed(plan.region, plan.pages[i] / 64, 1ULL << (plan.pages[i] % 64));
    }
    on_the_way_ = nullptr;
  }

  // ------------------------------------------------------------------------------------------
  // blackout
  Status send_barrier() {
    set_thread_role(ThreadRole::kUrgent);
    bulk_->send(wire::MessageType::kBarrier, wire::Barrier{kBarrierId});
    return {};
  }

  Status quiesce() {
    set_thread_role(ThreadRole::kUrgent);
    if (machine_.state() == SourceState::kQuiesce) {
      // The guest still runs: what it wrote since the last sync is told now, so that little is left
      // for the blackout.
      GODWIT_TRY(sync_dirty(*control_));
    }
    stopped_ = true;
    GODWIT_TRY_ASSIGN(report_.stopped, guest_.quiesce());
    quiesced_ns_ = monotonic_ns();
    push(SourceEvent::kQuiesced);
    return {};
  }

  Status send_state() {
    const bool pages_follow = options_.mode == Mode::kHybrid || options_.mode == Mode::kPostcopy;
    GODWIT_TRY(sync_dirty(*control_));
    if (options_.mode == Mode::kPostcopy && tracking_ == nullptr) {
      GODWIT_TRY(announce_populated(*control_));
    }
    if (!pages_follow && ledger_.pending_pages() != 0) {
      return fail(
          ErrorCode::kInternal, "final sync", "pages were written after the guest had stopped");
    }
    pending_at_switch_ = ledger_.pending_pages();
    urgent_->allow_requests();
    control_->send(wire::MessageType::kFinalSync,
                   wire::FinalSync{pending_at_switch_, ledger_.pending_hash()});
    synced_ns_ = monotonic_ns();
    if (options_.injection.fault == InjectedFault::kBlackoutDelay) {
      std::this_thread::sleep_for(std::chrono::nanoseconds(options_.injection.delay_ns));
    }
    GODWIT_TRY_ASSIGN(auto sections, guest_.save_state());
    const wire::State state{to_wire(sections)};
    GODWIT_TRY(wire::validate(state));
    control_->send(wire::MessageType::kState, state);
    saved_ns_ = monotonic_ns();
    return {};
  }

  Status send_commit() {
    control_->send(wire::MessageType::kCommit, wire::Commit{});
    cut_when_sent_ = options_.injection.fault == InjectedFault::kCutAfterCommit;
    return {};
  }

  void maybe_cut() {
    if (cut_when_sent_ && machine_.state() == SourceState::kHandover) {
      cut_when_sent_ = false;
      cut("injected: the link is cut after COMMIT");
    }
  }

  void cut(const char* why) {
    note_error(make_error(ErrorCode::kClosed, "link", why), "source");
    shut_down_channels();
    push(SourceEvent::kLinkLost);
  }

  Status begin_stream() {
    set_thread_role(ThreadRole::kBulk);
    scheduler_.prepare_background();
    return {};
  }

  void resume() {
    if (tracking_started_) {
      tracking_->stop();
      collector_.detach(ledger_.dirty());
      tracking_started_ = false;
    }
    if (stopped_) {
      if (auto resumed = guest_.resume(); !resumed) {
        log_error("source: the guest could not be resumed: {}", resumed.error().message());
      }
      stopped_ = false;
    }
    in_round_ = false;
  }

  // ------------------------------------------------------------------------------------------ the
  // end
  void shut_down_channels() {
    if (control_) {
      control_->channel().shut_down();
    }
    if (bulk_) {
      bulk_->channel().shut_down();
    }
    if (urgent_) {
      urgent_->shut_down();
    }
  }

  void finish() {
    const auto ended_ns = monotonic_ns();
    // The last message (FINISH, CANCEL) still has to leave.
    const auto flush = Deadline::after_ns(kFlushNs);
    while (control_ && !control_->broken() && !control_->idle() && !flush.passed()) {
      if (!loop_->run_once(flush)) {
        break;
      }
    }
    if (urgent_) {
      urgent_->stop();
    }
    shut_down_channels();
    if (tracking_started_) {
      tracking_->stop();
      tracking_started_ = false;
    }
    fill_report(ended_ns);
    {
      const std::lock_guard lock(loop_mutex_);
      control_.reset();
      bulk_.reset();
      loop_.reset();
    }
    urgent_.reset();
    ended_.store(true, std::memory_order_release);
  }

  void fill_report(std::int64_t ended_ns) {
    switch (machine_.state()) {
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
    if (control_) {
      report_.control_bytes =
          control_->channel().bytes_sent() + control_->channel().bytes_received();
    }
    if (urgent_) {
      report_.urgent_bytes = urgent_->bytes_sent();
      report_.pages_demand = urgent_->demand_pages();
      report_.pages_overtaken = urgent_->overtaken_pages();
      report_.payload_bytes += (report_.pages_demand + report_.pages_overtaken) * kPageBytes;
    }
    const auto bulk_bytes =
        bulk_ ? bulk_->channel().bytes_sent() + bulk_->channel().bytes_received() : 0;
    report_.wire_bytes = bulk_bytes + report_.urgent_bytes + report_.control_bytes;
    report_.pages_populated = ledger_.unique_pages();
    report_.pages_background = background_pages_;
    report_.pages_sent_twice = sent_twice_.load(std::memory_order_relaxed);
    const auto copies = precopy_pages_ + background_pages_ + report_.pages_demand;
    report_.pages_resent = copies > ledger_.unique_pages() ? copies - ledger_.unique_pages() : 0;
    const auto unique = std::min(copies, ledger_.unique_pages());
    report_.pages_zero = std::min(report_.pages_zero, unique);
    report_.pages_sent = unique - report_.pages_zero;
    if (machine_.state() == SourceState::kCompleted) {
      check_books();
    }
    fill_times(ended_ns);
  }

  /// Every page that was missing at the switch was installed once.
  void check_books() {
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

  void fill_times(std::int64_t ended_ns) {
    report_.total_ns = ended_ns - began_ns_ - prealloc_ns_;
    report_.setup_ns =
        (precopy_began_ns_ != 0 ? precopy_began_ns_ : ended_ns) - began_ns_ - prealloc_ns_;
    if (machine_.state() != SourceState::kCompleted) {
      report_.precopy_ns = report_.total_ns - report_.setup_ns;
      return;
    }
    const auto stop = report_.stopped.last_ns;
    const bool one_clock =
        report_.target.boot_id == boot_id() && report_.target.first_run_ns > stop;
    report_.downtime_ns = (one_clock ? report_.target.first_run_ns : running_received_ns_) - stop;
    report_.precopy_ns = stop - precopy_began_ns_;
    report_.postcopy_ns =
        report_.total_ns - report_.setup_ns - report_.precopy_ns - report_.downtime_ns;
    auto& parts = report_.parts;
    parts.quiesce = quiesced_ns_ - stop;
    parts.final_sync = synced_ns_ - quiesced_ns_;
    parts.state_save = saved_ns_ - synced_ns_;
    const auto rest = report_.downtime_ns - (saved_ns_ - stop);
    parts.state_load = std::min(rest, static_cast<std::int64_t>(running_.load_ns));
    parts.resume = std::min(rest - parts.state_load, static_cast<std::int64_t>(running_.resume_ns));
    parts.state_transfer = rest - parts.state_load - parts.resume;
    if (options_.mode == Mode::kPrecopy) {
      report_.downtime_limit_met = report_.downtime_ns <= options_.downtime_limit_ns;
    }
  }

  SourceGuest& guest_;
  Transport& transport_;
  const SourceOptions options_;
  SourceMachine machine_;
  std::deque<SourceEvent> events_;
  DirtyCollector collector_;
  DirtyLedger ledger_;
  PageScheduler scheduler_;
  RegionBitmaps sent_after_switch_;
  std::atomic<std::uint64_t> sent_twice_{0};
  Pacer pacer_;
  std::array<BatchBuilder, 2> frames_;

  DirtySource* tracking_ = nullptr;
  bool tracking_started_ = false;
  bool bulk_open_ = false;  // the target has answered on the channel
  bool accepted_ = false;
  bool stopped_ = false;
  bool cancelled_ = false;
  bool cut_when_sent_ = false;
  bool in_round_ = false;
  bool have_next_ = false;
  bool waiting_for_pacer_ = false;
  unsigned next_frame_ = 0;
  BatchBuilder* on_the_way_ = nullptr;
  RoundReport round_report_;
  std::uint64_t last_dirtied_ = 0;
  std::uint64_t previous_pending_ = 0;
  std::uint64_t precopy_pages_ = 0;
  std::uint64_t background_pages_ = 0;
  std::uint64_t pending_at_switch_ = 0;
  double bytes_per_s_ = 0;
  wire::SessionId session_id_{};
  std::uint32_t epoch_ = 0;
  wire::Running running_;
  std::int64_t began_ns_ = 0, precopy_began_ns_ = 0, round_began_ns_ = 0, progress_ns_ = 0,
               prealloc_ns_ = 0;
  std::int64_t quiesced_ns_ = 0, synced_ns_ = 0, saved_ns_ = 0, running_received_ns_ = 0;

  std::mutex
      loop_mutex_;  // guards loop_'s life against wake() and urgent_error_; never on the page path
  std::unique_ptr<EventLoop> loop_;
  std::optional<Error> urgent_error_;
  std::unique_ptr<FrameChannel> control_;
  std::unique_ptr<FrameChannel> bulk_;
  std::unique_ptr<SourceUrgent> urgent_;

  std::atomic<SourceState> state_{SourceState::kIdle};
  std::atomic<bool> decided_{false};
  std::atomic<bool> ended_{false};
  std::atomic<bool> urgent_open_{false};
  std::atomic<bool> switch_requested_{false};
  std::atomic<bool> cancel_requested_{false};
  std::atomic<std::uint32_t> round_{0};
  std::atomic<std::uint64_t> sent_pages_{0};
  std::atomic<std::int64_t> rounds_began_ns_{0};

  MigrationReport report_;
  std::jthread thread_;
};

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
SourceState SourceSession::state() const {
  return impl_->state();
}
Progress SourceSession::progress() const {
  return impl_->progress();
}

}  // namespace godwit::engine
