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

#include "figures.h"
#include "frame_channel.h"
#include "source_bulk.h"
#include "source_figures.h"
#include "source_urgent.h"

namespace godwit::engine {
namespace {

constexpr std::size_t kControlReadAhead = 8192;
constexpr std::int64_t kFlushNs = 1'000'000'000;
/// Towards a target that must unmap what becomes old: barriers go on until so few pages became old
/// during one that unmapping those of the next costs the blackout little, or this many were sent.
constexpr std::uint64_t kUnmapsAtSwitch = 256;
constexpr std::uint64_t kMaxBarriers = 4;

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
// and commands bring, and does what the machine's transitions ask. Pages are the business of the
// lanes (source_bulk.h) and of the urgent loop (source_urgent.h).
class SourceSession::Impl {
  /// What the lanes were told to do and have not reported done.
  enum class Ordered : std::uint8_t { kNothing = 0, kRound, kBarrier, kStream };

 public:
  Impl(SourceGuest& guest, Transport& transport, SourceOptions options)
      : guest_(guest),
        transport_(transport),
        options_(std::move(options)),
        ledger_(pages_of(guest.memory())),
        scheduler_(ledger_),
        sent_after_switch_(ledger_.region_pages()) {}

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
    switch_requested_.store(true, std::memory_order_release);  // pairs with the lanes' load
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
    progress.sent_pages = counters_.precopy_pages.load(std::memory_order_relaxed) +
                          counters_.background_pages.load(std::memory_order_relaxed);
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
    stamps_.began_ns = monotonic_ns();
    progress_ns_ = stamps_.began_ns;
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
        wait_for_events();
      }
    }
    finish();
  }

  void wait_for_events() {
    const auto until = machine_.decided() ? INT64_MAX : progress_ns_ + options_.timeout_ns + 1;
    if (auto ran = loop_->run_once(Deadline{until}); !ran) {
      note_error(ran.error(), "source");
      push(SourceEvent::kLocalError);
    }
  }

  /// Commands, the other threads' news, and the deadline.
  void look_around() {
    take_error();
    // acquire: pairs with the urgent loop's store.
    if (machine_.state() == SourceState::kSetup && !accepted_ && bulk_ && bulk_->all_open() &&
        urgent_open_.load(std::memory_order_acquire)) {
      accepted_ = true;
      push(SourceEvent::kAccepted);
    }
    if (ordered_ != Ordered::kNothing && bulk_->done()) {
      order_done(std::exchange(ordered_, Ordered::kNothing));
    }
    if (cancel_requested_.exchange(false, std::memory_order_acq_rel) && !machine_.decided() &&
        machine_.state() != SourceState::kCancelling) {
      cancelled_ = true;
      note_error(make_error(ErrorCode::kCancelled, "cancel", "cancelled on request"), "source");
      push(SourceEvent::kCancel);
      return;
    }
    if (!machine_.decided() && monotonic_ns() - progress_ns_ > options_.timeout_ns) {
      // The lanes' progress is looked at only when the time has come.
      if (bulk_ && bulk_->progress_ns() > progress_ns_) {
        progress_ns_ = bulk_->progress_ns();
        return;
      }
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
        !attempt(kActDescribe, &Impl::describe) ||
        !attempt(kActStartRounds, &Impl::begin_rounds) ||
        !attempt(kActSendBarrier, &Impl::send_barrier) || !attempt(kActQuiesce, &Impl::quiesce) ||
        !attempt(kActSendState, &Impl::send_state) ||
        !attempt(kActSendCommit, &Impl::send_commit) || !attempt(kActStream, &Impl::begin_stream)) {
      return;
    }
    if ((actions & kActFinish) != 0) {
      control_->send(wire::MessageType::kFinish, wire::Finish{});
    }
    if ((actions & kActSendCancel) != 0 && bulk_) {
      bulk_->halt();
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

  wire::Hello hello(wire::ChannelKind kind) const {
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
    message.bulk_channels = static_cast<std::uint8_t>(options_.channels);
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
    bulk_ = std::make_unique<SourceBulk>(BulkShared{guest_.memory(),
                                                    options_,
                                                    ledger_,
                                                    scheduler_,
                                                    sent_after_switch_,
                                                    sent_twice_,
                                                    switch_requested_,
                                                    counters_},
                                         BulkEvents{.progressed = [this] { wake(); },
                                                    .failed = [this](const Error& error) {
                                                      error_from_thread(error);
                                                    },
                                                    .refused = [this](const wire::Refuse& refuse) {
                                                      refused_by_target(refuse);
                                                    }},
                                         hello(wire::ChannelKind::kBulk));
    GODWIT_TRY(bulk_->open(transport_, deadline));
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
                             .failed = [this](const Error& error) { error_from_thread(error); },
                             .refused = [this](const wire::Refuse& refuse) { refused_by_target(refuse); }});
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

  void error_from_thread(const Error& error) {
    {
      const std::lock_guard lock(loop_mutex_);
      if (!thread_error_) {
        thread_error_ = error;
      }
    }
    wake();
  }

  /// A page channel was refused.
  void refused_by_target(const wire::Refuse& refuse) {
    {
      const std::lock_guard lock(loop_mutex_);
      thread_refusal_ = refuse;
    }
    wake();
  }

  void take_error() {
    std::optional<Error> error;
    std::optional<wire::Refuse> refusal;
    {
      const std::lock_guard lock(loop_mutex_);
      error.swap(thread_error_);
      refusal.swap(thread_refusal_);
    }
    if (refusal) {
      peer_gave_up(refusal->code, refusal->phase, refusal->text);
    }
    if (error) {
      on_link_error(*error);
    }
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
        stamps_.prealloc_ns = static_cast<std::int64_t>(accept.prealloc_ns);
        target_maps_ = accept.placing_maps;
        if (machine_.state() != SourceState::kSetup || bulk_) {
          return fail(ErrorCode::kProtocol, "accept", "out of place");
        }
        // Rounds begin when the target has answered on all page channels: see look_around().
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
        stamps_.running_received_ns = monotonic_ns();
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

  // ------------------------------------------------------------------------------------------
  // pre-copy
  Status begin_rounds() {
    rounds_began_ns_.store(monotonic_ns(), std::memory_order_relaxed);
    if (machine_.state() == SourceState::kFinalRound) {
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
      push(SourceEvent::kSwitchPaused);
      return {};
    }
    if (tracking_ != nullptr) {
      collector_.attach(ledger_.dirty());
      // Armed before the scan: a page written for the first time meanwhile is found by one of the
      // two.
      GODWIT_TRY(tracking_->start(collector_));
      tracking_started_ = true;
      GODWIT_TRY(announce_populated(in_band()));
    }
    if (options_.mode == Mode::kPostcopy) {
      push(SourceEvent::kSwitchLive);
      return {};
    }
    begin_round();
    return {};
  }

  /// Announcements that travel with the pages they speak of.
  DirtyLedger::Announce in_band() {
    return [this](PageRun run) { bulk_->announce(run); };
  }

  Status announce_populated(const DirtyLedger::Announce& announce) {
    return guest_.populated().scan([&](PageRun run) { ledger_.add_pending(run, announce); });
  }

  /// Harvests the dirty source into the ledger and tells the target.
  Status sync_dirty(const DirtyLedger::Announce& announce) {
    last_dirtied_ = 0;
    if (!tracking_started_) {
      return {};
    }
    GODWIT_TRY(tracking_->sync());
    const auto pending_before = ledger_.pending_pages();
    const bool lose = options_.injection.fault == InjectedFault::kStalePage;
    last_dirtied_ =
        lose ? ledger_.absorb_dirty_losing(announce, [this](PageId page) { return loses(page); })
             : ledger_.absorb_dirty(announce);
    newly_pending_ = ledger_.pending_pages() - pending_before;
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
    round_began_ns_ = monotonic_ns();
    pages_before_round_ = counters_.precopy_pages.load(std::memory_order_relaxed);
    bytes_before_round_ = counters_.frame_bytes.load(std::memory_order_relaxed);
    round_.fetch_add(1, std::memory_order_relaxed);
    bulk_->start_round(machine_.state() == SourceState::kPrecopy);
    ordered_ = Ordered::kRound;
  }

  void step(const Status& status) {
    if (!status) {
      note_error(status.error(), "source");
      push(SourceEvent::kLocalError);
    }
  }

  /// The lanes have done what they were told.
  void order_done(Ordered ordered) {
    switch (ordered) {
      case Ordered::kRound:
        if (machine_.state() == SourceState::kPrecopy ||
            machine_.state() == SourceState::kFinalRound) {
          step(end_round());
        }
        break;
      case Ordered::kBarrier:
        step(barrier_passed());
        break;
      case Ordered::kStream:
        push(SourceEvent::kAllSent);
        break;
      case Ordered::kNothing:
        break;
    }
  }

  Status end_round() {
    RoundReport round;
    round.ns = monotonic_ns() - round_began_ns_;
    round.pages =
        counters_.precopy_pages.load(std::memory_order_relaxed) - pages_before_round_;
    round.bytes =
        counters_.frame_bytes.load(std::memory_order_relaxed) - bytes_before_round_;
    if (machine_.state() == SourceState::kFinalRound) {
      report_.rounds.push_back(round);
      push(SourceEvent::kRoundDone);
      return {};
    }
    GODWIT_TRY(sync_dirty(in_band()));
    round.dirtied_pages = last_dirtied_;
    report_.rounds.push_back(round);
    RoundEnd end;
    end.rounds_done = round_.load(std::memory_order_relaxed);
    end.pending_pages = ledger_.pending_pages();
    end.previous_pending_pages = previous_pending_;
    end.bytes_per_s =
        round.ns > 0 ? static_cast<double>(round.bytes) * 1e9 / static_cast<double>(round.ns) : 0.0;
    end.target_maps = target_maps_;
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

  // ------------------------------------------------------------------------------------------
  // blackout
  Status send_barrier() {
    set_thread_role(ThreadRole::kUrgent);
    bulk_->send_barrier(++barrier_id_);
    ordered_ = Ordered::kBarrier;
    return {};
  }

  /// All that was sent is placed. Pages that the guest wrote meanwhile may be mapped at the target;
  /// many of them are unmapped now, while the guest still runs, and not in the blackout.
  Status barrier_passed() {
    if (machine_.state() == SourceState::kBarrier && target_maps_ && tracking_started_ &&
        newly_pending_ > kUnmapsAtSwitch && barrier_id_ < kMaxBarriers) {
      GODWIT_TRY(sync_dirty(in_band()));
      return send_barrier();
    }
    push(SourceEvent::kBarrierAcked);
    return {};
  }

  Status quiesce() {
    set_thread_role(ThreadRole::kUrgent);
    if (machine_.state() == SourceState::kQuiesce) {
      // The guest still runs: what it wrote since the last sync is told now, so that little is left
      // for the blackout.
      Announcer announcer(*control_);
      GODWIT_TRY(sync_dirty([&](PageRun run) { announcer.add(run); }));
    }
    stopped_ = true;
    GODWIT_TRY_ASSIGN(report_.stopped, guest_.quiesce());
    stamps_.quiesced_ns = monotonic_ns();
    push(SourceEvent::kQuiesced);
    return {};
  }

  Status send_state() {
    const bool pages_follow = options_.mode == Mode::kHybrid || options_.mode == Mode::kPostcopy;
    {
      Announcer announcer(*control_);
      const auto announce = [&](PageRun run) { announcer.add(run); };
      GODWIT_TRY(sync_dirty(announce));
      if (options_.mode == Mode::kPostcopy && tracking_ == nullptr) {
        GODWIT_TRY(announce_populated(announce));
      }
    }
    if (!pages_follow && ledger_.pending_pages() != 0) {
      return fail(
          ErrorCode::kInternal, "final sync", "pages were written after the guest had stopped");
    }
    pending_at_switch_ = ledger_.pending_pages();
    urgent_->allow_requests();
    control_->send(wire::MessageType::kFinalSync,
                   wire::FinalSync{pending_at_switch_, ledger_.pending_hash()});
    stamps_.synced_ns = monotonic_ns();
    if (options_.injection.fault == InjectedFault::kBlackoutDelay) {
      std::this_thread::sleep_for(std::chrono::nanoseconds(options_.injection.delay_ns));
    }
    GODWIT_TRY_ASSIGN(auto sections, guest_.save_state());
    const wire::State state{to_wire(sections)};
    GODWIT_TRY(wire::validate(state));
    control_->send(wire::MessageType::kState, state);
    stamps_.saved_ns = monotonic_ns();
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
    bulk_->start_stream();
    ordered_ = Ordered::kStream;
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
  }

  // ------------------------------------------------------------------------------------------ the
  // end
  void shut_down_channels() {
    if (control_) {
      control_->channel().shut_down();
    }
    if (bulk_) {
      bulk_->halt();
      bulk_->shut_down();
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
    if (bulk_) {
      bulk_->stop();
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
      loop_.reset();
    }
    bulk_.reset();
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
    }
    report_.wire_bytes =
        (bulk_ ? bulk_->bytes_moved() : 0) + report_.urgent_bytes + report_.control_bytes;
    report_.pages_sent_twice = sent_twice_.load(std::memory_order_relaxed);
    report_.channels = options_.channels;
    fill_pages(report_, counters_, ledger_.unique_pages());
    const bool completed = machine_.state() == SourceState::kCompleted;
    if (completed) {
      check_books();
    }
    fill_times(report_, stamps_, ended_ns, running_, options_, completed);
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
  BulkCounters counters_;

  DirtySource* tracking_ = nullptr;
  bool tracking_started_ = false;
  bool accepted_ = false;
  bool stopped_ = false;
  bool cancelled_ = false;
  bool target_maps_ = false;  // placing a page maps it there, so old ones cost an unmapping
  bool cut_when_sent_ = false;
  Ordered ordered_ = Ordered::kNothing;
  std::uint64_t last_dirtied_ = 0;   // marks of the last sync
  std::uint64_t newly_pending_ = 0;  // of these, pages that the target had
  std::uint64_t barrier_id_ = 0;     // of the last one sent
  std::uint64_t previous_pending_ = 0;
  std::uint64_t pages_before_round_ = 0;
  std::uint64_t bytes_before_round_ = 0;
  std::uint64_t pending_at_switch_ = 0;
  double bytes_per_s_ = 0;
  wire::SessionId session_id_{};
  std::uint32_t epoch_ = 0;
  wire::Running running_;
  SourceStamps stamps_;
  std::int64_t round_began_ns_ = 0;
  std::int64_t progress_ns_ = 0;

  // Guards loop_'s life against wake(), and what threads report; never on the page path.
  std::mutex loop_mutex_;
  std::unique_ptr<EventLoop> loop_;
  std::optional<Error> thread_error_;
  std::optional<wire::Refuse> thread_refusal_;
  std::unique_ptr<FrameChannel> control_;
  std::unique_ptr<SourceBulk> bulk_;
  std::unique_ptr<SourceUrgent> urgent_;

  std::atomic<SourceState> state_{SourceState::kIdle};
  std::atomic<bool> decided_{false};
  std::atomic<bool> ended_{false};
  std::atomic<bool> urgent_open_{false};
  std::atomic<bool> switch_requested_{false};
  std::atomic<bool> cancel_requested_{false};
  std::atomic<std::uint32_t> round_{0};
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
