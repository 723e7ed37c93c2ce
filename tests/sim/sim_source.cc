#include "sim_source.h"

#include <algorithm>

namespace godwit::sim {

using engine::SourceEvent;
using engine::SourceState;
using K = MessageKind;

SimSource::SimSource(World& world, const Scenario& scenario, LinkModel& link, FakeGuest& guest)
    : world_(world),
      scenario_(scenario),
      link_(link),
      guest_(guest),
      machine_(scenario.bugs.source),
      memory_(scenario.region_pages, 0),
      ledger_(scenario.region_pages),
      scheduler_(ledger_),
      sent_after_switch_(scenario.region_pages, 0) {
  const auto interleave = [this] {
    if (guest_.runner() == this) {
      guest_.interleave();
    }
  };
  switch (scenario.dirty) {
    case DirtyKind::kLog:
      dirty_ = std::make_unique<DirtyLogModel>(
          scenario.region_pages, interleave, scenario.bugs.clear_after_read);
      break;
    case DirtyKind::kRing:
      dirty_ = std::make_unique<DirtyRingModel>(
          world,
          scenario.region_pages,
          interleave,
          [this] {
            for (unsigned i = 0; i < guest_.vcpus(); ++i) {
              guest_.wake(i);
            }
          },
          scenario.bugs.publish_before_reset);
      break;
    case DirtyKind::kWriteProtect:
      dirty_ = std::make_unique<WriteProtectModel>(scenario.region_pages, interleave);
      break;
  }
  link.hear_at_source([this](unsigned number, ChannelName channel) {
    return Stream::Receiver{.begin = [](const Message&) -> Ns { return 2'000; },
                            .end =
                                [this, number, channel](const Message& message) {
                                  if (closed_ || number != number_) {
                                    return;
                                  }
                                  last_progress_ = world_.time.now();
                                  if (message.kind == K::kEnd) {
                                    on_link_lost(number);
                                  } else if (channel == ChannelName::kControl) {
                                    on_control(message);
                                  } else if (channel == ChannelName::kUrgent) {
                                    on_urgent(message);
                                  } else {
                                    on_bulk(message);
                                  }
                                }};
  });
  for (std::uint32_t i = 0; i < scenario.options.channels; ++i) {
    cursors_.emplace_back(ledger_, i, scenario.options.channels);
  }
}

void SimSource::start() {
  watch();
  device_write_later();
  take(SourceEvent::kStart);
}

bool SimSource::access(unsigned /*vcpu*/, PageId page, bool write) {
  return !write || dirty_->on_write(page);
}

// ------------------------------------------------------------------------------ events and actions

/// Answers that were on their way when this side gave up are of no interest any more.
bool SimSource::deaf() const {
  return machine_.ended() || machine_.state() == SourceState::kCancelling ||
         machine_.state() == SourceState::kRevoking;
}

void SimSource::take(SourceEvent event) {
  const bool was_deaf = deaf();
  const auto* row = machine_.on(event);
  if (row == nullptr) {
    if (was_deaf) {
      return;
    }
    if (!scenario_.bugs.any()) {
      world_.violation("illegal at the source: " + std::string(to_string(event)) + " in " +
                       std::string(to_string(machine_.state())));
    }
    if (event != SourceEvent::kLinkLost) {
      on_link_lost(number_);  // a peer that breaks the protocol cannot be trusted with anything
    }
    return;
  }
  act(row->actions);
  on_state();
}

void SimSource::act(std::uint32_t actions) {
  const auto with = [&](std::uint32_t action) { return (actions & action) != 0; };
  if (with(engine::kActDropLink)) {
    drop_link();
  }
  if (with(engine::kActConnect)) {
    world_.time.after(2 * scenario_.link.latency, [this] {
      if (machine_.state() == SourceState::kConnecting) {
        take(SourceEvent::kConnected);
      }
    });
  }
  if (with(engine::kActSendHello)) {
    send(ChannelName::kControl, {K::kHello});
  }
  if (with(engine::kActDescribe)) {
    send(ChannelName::kControl, {K::kDescribe});
  }
  if (with(engine::kActStartRounds)) {
    if (!tracking_) {
      arm_and_scan();
    }
    start_rounds();
  }
  if (with(engine::kActSendBarrier)) {
    channels_busy_ = scenario_.options.channels;
    for (std::uint32_t i = 0; i < scenario_.options.channels; ++i) {
      send(bulk(i), {K::kBarrier});
    }
    if (scenario_.bugs.skip_barrier) {
      world_.time.after(1'000, [this] {
        if (machine_.state() == SourceState::kBarrier) {
          take(SourceEvent::kBarrierAcked);
        }
      });
    }
  }
  if (with(engine::kActQuiesce)) {
    quiesce();
  }
  if (with(engine::kActSendState)) {
    send_state();
  }
  if (with(engine::kActDecide) && !machine_.decided()) {
    world_.violation("COMMIT leaves before the decision is recorded");
  }
  if (with(engine::kActSendCommit)) {
    send(ChannelName::kControl, {K::kCommit});
  }
  if (with(engine::kActStream)) {
    if (!late_frame_.pages.empty()) {
      send(bulk(late_channel_), std::exchange(late_frame_, {}));
    }
    scheduler_.prepare_background();
    channels_busy_ = scenario_.options.channels;
    for (std::uint32_t i = 0; i < scenario_.options.channels; ++i) {
      next_background(i);
    }
  }
  if (with(engine::kActReconnect)) {
    if (scenario_.recovers) {
      world_.time.after(0, [this] { dial(); });
    } else {
      close();
      world_.time.after(0, [this] { take(SourceEvent::kTimeout); });
    }
  }
  if (with(engine::kActFinish)) {
    send(ChannelName::kControl, {K::kFinish});
  }
  if (with(engine::kActSendCancel)) {
    send(ChannelName::kControl, {K::kCancel});
  }
  if (with(engine::kActResume)) {
    stop_tracking();
    guest_.run_on(*this);
  }
  if (with(engine::kActClose)) {
    close();
  }
}

void SimSource::cancel() {
  const auto legal = [&](const engine::SourceTransition& row) {
    return row.from == machine_.state() && row.event == SourceEvent::kCancel;
  };
  const auto table = engine::SourceMachine::table();
  if (std::any_of(table.begin(), table.end(), legal)) {
    take(SourceEvent::kCancel);
  }
}

void SimSource::fail() {
  if (!machine_.ended() && machine_.state() != SourceState::kIdle) {
    take(SourceEvent::kLocalError);
  }
}

void SimSource::close() {
  if (std::exchange(closed_, true)) {
    return;
  }
  stop_tracking();
  for (const auto channel : kChannels) {
    link_.to_target(channel, number_).close_sender();
    link_.to_source(channel, number_).close_receiver();
  }
}

void SimSource::on_control(const Message& message) {
  switch (message.kind) {
    case K::kWelcome:
      if (machine_.state() != SourceState::kResync) {
        take(SourceEvent::kWelcome);
      }
      return;
    case K::kMissing:
      return on_missing(message);
    case K::kAccept:
      if (!deaf()) {
        for (std::uint32_t i = 0; i < scenario_.options.channels; ++i) {
          send(bulk(i), {K::kHello});
        }
        send(ChannelName::kUrgent, {K::kHello});
      }
      return;
    case K::kReady:
      return take(SourceEvent::kReady);
    case K::kRunning:
      target_runs_ = true;
      if (machine_.state() != SourceState::kResync) {
        take(SourceEvent::kRunning);
      }
      return;
    case K::kComplete:
      return take(SourceEvent::kComplete);
    case K::kCancelAck:
      return take(SourceEvent::kCancelAcked);
    case K::kRefuse:
    case K::kAbort:
      return take(SourceEvent::kPeerAbort);
    default:
      world_.violation("a message at the source that does not belong there");
  }
}

void SimSource::on_bulk(const Message& message) {
  if (message.kind == K::kWelcome) {
    return on_channels_open();
  }
  if (scenario_.bugs.skip_barrier || deaf()) {
    return;
  }
  if (--channels_busy_ == 0) {
    take(SourceEvent::kBarrierAcked);
  }
}

void SimSource::on_urgent(const Message& message) {
  if (message.kind == K::kWelcome) {
    return on_channels_open();
  }
  if (deaf()) {
    return;
  }
  if (!switched_) {
    world_.violation("a page was requested before the switch");
    return;
  }
  for (const auto& [page, content] : message.pages) {
    serve(page);
  }
}

void SimSource::send(ChannelName channel, Message message, std::function<void()> handed) {
  link_.to_target(channel, number_)
      .send(std::move(message), [this, number = number_, then = std::move(handed)] {
        last_progress_ = world_.time.now();
        if (then && !closed_ && number == number_ && !dials_) {
          then();
        }
      });
}

// ---------------------------------------------------------------------------------- the page plane

void SimSource::on_channels_open() {
  if (++welcomes_ != scenario_.options.channels + 1) {
    return;
  }
  if (machine_.state() == SourceState::kResync) {
    ++recovered_;
    resyncing_ = false;
    take(target_runs_ ? SourceEvent::kResyncedRunning : SourceEvent::kResyncedReady);
  } else {
    take(SourceEvent::kAccepted);
  }
}

/// Tracking is armed before the scan: a page first written during the scan is then found by one of
/// the two.
void SimSource::arm_and_scan() {
  tracking_ = true;
  static_cast<void>(dirty_->start(ledger_.sink()));
  memory_.each([&](PageId page, std::uint32_t& content) {
    if (page.index % 64 == 0 && guest_.runner() == this) {
      guest_.interleave();
    }
    if (content != 0) {
      ledger_.add_pending({page.region, page.index, 1}, [&](PageRun run) { in_band_stale(run); });
    }
  });
}

void SimSource::stop_tracking() {
  if (std::exchange(tracking_, false)) {
    dirty_->stop();
    for (unsigned i = 0; i < guest_.vcpus() && guest_.runner() == this; ++i) {
      guest_.wake(i);
    }
  }
}

/// A device marks what it wrote, if anybody has asked for marks.
void SimSource::mark(PageId page) {
  if (tracking_) {
    ledger_.sink().mark(page.region, page.index / 64, 1ULL << (page.index % 64));
  }
}

void SimSource::send_stale(ChannelName channel, PageRun run) {
  Message message{K::kStale};
  message.runs.push_back(run);
  send(channel, std::move(message));
}

/// The chunk rule, or the bug that ignores it: everything is announced on the first channel.
std::uint32_t SimSource::channel_of(PageId page) const {
  return scenario_.bugs.no_chunk_rule ? 0 : wire::channel_of(page, scenario_.options.channels);
}

void SimSource::in_band_stale(PageRun run) {
  for (auto page = run.first; page < run.end(); ++page) {
    send_stale(bulk(channel_of({run.region, page})), {run.region, page, 1});
  }
}

void SimSource::sync_and_announce(bool in_band) {
  static_cast<void>(dirty_->sync());
  ledger_.absorb_dirty([&](PageRun run) {
    if (in_band) {
      in_band_stale(run);
    } else {
      send_stale(ChannelName::kControl, run);
    }
  });
}

void SimSource::start_rounds() {
  round_started_ = world_.time.now();
  round_pages_ = 0;
  const auto mode = scenario_.options.mode;
  if (machine_.state() == SourceState::kPrecopy &&
      (mode == engine::Mode::kPostcopy || mode == engine::Mode::kStopAndCopy)) {
    end_of_round();  // no page goes before the switch
    return;
  }
  channels_busy_ = scenario_.options.channels;
  for (std::uint32_t i = 0; i < scenario_.options.channels; ++i) {
    cursors_[i].restart();
    next_batch(i);
  }
}

/// The last channel to be done ends the round.
void SimSource::channel_done() {
  if (--channels_busy_ != 0) {
    return;
  }
  if (machine_.state() == SourceState::kFinalRound) {
    take(SourceEvent::kRoundDone);
  } else {
    end_of_round();
  }
}

void SimSource::next_batch(std::uint32_t channel) {
  if (machine_.state() != SourceState::kPrecopy && machine_.state() != SourceState::kFinalRound) {
    return;
  }
  engine::PageBatchPlan plan;
  if (!cursors_[channel].next(plan)) {
    return channel_done();
  }
  round_pages_ += plan.count;
  auto message = build(plan, Phase::kPrecopy);
  if (scenario_.bugs.late_precopy_frame && world_.chance(30)) {
    late_frame_ = message;
    late_channel_ = channel;
  }
  // The socket takes one batch at a time; building the next one costs some microseconds.
  send(bulk(channel), std::move(message), [this, plan, channel] {
    landed(plan);
    world_.time.after(world_.between(1'000, 20'000), [this, channel] {
      if (!closed_) {
        next_batch(channel);
      }
    });
  });
}

void SimSource::end_of_round() {
  sync_and_announce(true);
  ++rounds_;
  const auto took = std::max<Ns>(1, world_.time.now() - round_started_);
  const auto pending = ledger_.pending_pages();
  convergence_.note({.pages = round_pages_, .ns = took}, pending);
  const auto blackout =
      engine::forecast_blackout(pending, {.data_pages = round_pages_, .data_ns = took}, 0, 0, 1);
  const engine::RoundEnd end{
      .rounds_done = rounds_,
      .pending_pages = pending,
      .previous_pending_pages = previous_pending_,
      .stalled_rounds = convergence_.stalled_rounds(),
      .blackout_ns = blackout ? std::optional(blackout->total_ns()) : std::nullopt,
      .switch_requested = switch_requested_};
  previous_pending_ = pending;
  switch (engine::judge_round(scenario_.options, end).verdict) {
    case engine::Verdict::kNextRound:
      return start_rounds();
    case engine::Verdict::kSwitchLive:
      return take(SourceEvent::kSwitchLive);
    case engine::Verdict::kSwitchPaused:
      return take(SourceEvent::kSwitchPaused);
    case engine::Verdict::kGiveUp:
      return take(SourceEvent::kLocalError);
  }
}

void SimSource::quiesce() {
  const bool final_round = machine_.state() == SourceState::kFinalQuiesce;
  if (!final_round) {
    sync_and_announce(false);  // the guest still runs: less is left for the blackout
  }
  world_.time.after(world_.between(10'000, 200'000), [this, final_round] {
    if (machine_.state() != SourceState::kQuiesce &&
        machine_.state() != SourceState::kFinalQuiesce) {
      return;
    }
    guest_.stop();
    for (const auto page : std::exchange(unmarked_, {})) {
      mark(page);
    }
    sync_and_announce(final_round);
    take(SourceEvent::kQuiesced);
  });
}

void SimSource::send_state() {
  stop_tracking();
  switched_ = true;
  Message sync{K::kFinalSync};
  sync.count = ledger_.pending_pages();
  sync.hash = ledger_.pending_hash();
  send(ChannelName::kControl, std::move(sync));
  send(ChannelName::kControl, {K::kState});
  if (scenario_.bugs.source.commit_before_ready) {
    world_.time.after(0, [this] {
      if (machine_.state() == SourceState::kStateTransfer) {
        take(SourceEvent::kQuiesced);
      }
    });
  }
}

void SimSource::next_background(std::uint32_t channel) {
  if (machine_.state() != SourceState::kPostcopy) {
    return;
  }
  engine::PageBatchPlan plan;
  if (!scheduler_.next_background(plan)) {
    if (ledger_.pending_pages() != 0) {
      world_.violation("the background stream ended with pages pending");
    }
    send(bulk(channel), {K::kBackgroundEnd});
    if (--channels_busy_ == 0) {
      take(SourceEvent::kAllSent);
    }
    return;
  }
  for (std::uint32_t i = 0; i < plan.count; ++i) {
    ++sent_after_switch_[{plan.region, plan.pages[i]}];
  }
  send(bulk(channel), build(plan, Phase::kBackground), [this, plan, channel] {
    landed(plan);
    on_this_link_after(world_.between(1'000, 20'000),
                       [this, channel] { next_background(channel); });
  });
}

void SimSource::serve(PageId page) {
  const auto mask = 1ULL << (page.index % 64);
  if (ledger_.claim(page.region, page.index / 64, mask) != 0) {
    ++demand_;
  } else if (ledger_.in_flight(page)) {
    ++overtaken_;
  } else {
    return;
  }
  if (++sent_after_switch_[page] > 2) {
    world_.violation("a page was sent three times after the switch");
  }
  urgent_queue_.push_back(page);
  scheduler_.hint(page);
  pump_urgent();
}

void SimSource::pump_urgent() {
  if (urgent_sending_ || urgent_queue_.empty()) {
    return;
  }
  urgent_sending_ = true;
  engine::PageBatchPlan plan;
  plan.region = urgent_queue_.front().region;
  plan.pages[0] = urgent_queue_.front().index;
  plan.count = 1;
  urgent_queue_.pop_front();
  send(ChannelName::kUrgent, build(plan, Phase::kUrgent), [this] {
    urgent_sending_ = false;
    pump_urgent();
  });
}

Message SimSource::build(const engine::PageBatchPlan& plan, Phase phase) {
  Message message{K::kPages, phase};
  for (std::uint32_t i = 0; i < plan.count; ++i) {
    if (world_.chance(5) && guest_.runner() == this) {
      guest_.interleave();  // the guest writes between the copies of two pages
    }
    const PageId page{plan.region, plan.pages[i]};
    message.pages.emplace_back(page, memory_[page]);
  }
  pages_sent_ += plan.count;
  return message;
}

void SimSource::landed(const engine::PageBatchPlan& plan) {
  for (std::uint32_t i = 0; i < plan.count; ++i) {
    ledger_.landed(plan.region, plan.pages[i] / 64, 1ULL << (plan.pages[i] % 64));
  }
}

/// A device writes a page, and marks it a moment later: write, then mark.
void SimSource::device_write_later() {
  world_.time.after(world_.between(50'000, 500'000), [this] {
    if (switched_ || closed_) {
      return;
    }
    if (guest_.runner() == this) {
      const auto page = guest_.some_page();
      guest_.device_write(*this, page);
      unmarked_.push_back(page);
      world_.time.after(world_.between(100, 50'000), [this, page] {
        if (const auto at = std::find(unmarked_.begin(), unmarked_.end(), page);
            at != unmarked_.end()) {
          unmarked_.erase(at);
          mark(page);
        }
      });
    }
    device_write_later();
  });
}

void SimSource::count(Outcome& outcome) const {
  outcome.overtaken = overtaken_;
  outcome.demand = demand_;
  outcome.recovered = recovered_;
  outcome.sent_again = sent_again_;
  outcome.resent = pages_sent_ - std::min(pages_sent_, ledger_.unique_pages());
}

}  // namespace godwit::sim
