#include "sim_target.h"

#include <algorithm>

namespace godwit::sim {

using engine::FaultDecision;
using engine::PageOwner;
using engine::TargetEvent;
using engine::TargetState;
using K = MessageKind;

namespace {

PageOwner owner_of(ChannelName channel) {
  return channel == ChannelName::kUrgent ? PageOwner::kUrgent : PageOwner::kBulk;
}

}  // namespace

SimTarget::SimTarget(World& world, const Scenario& scenario, LinkModel& link, FakeGuest& guest)
    : world_(world),
      scenario_(scenario),
      link_(link),
      guest_(guest),
      memory_(scenario.region_pages, 0),
      states_(std::move(*engine::PageStates::create(scenario.region_pages, scenario.placing))),
      mapped_(scenario.region_pages, false),
      writers_(scenario.region_pages, 0),
      installed_after_switch_(scenario.region_pages, 0) {
  link.hear_at_target([this](unsigned number, ChannelName channel) {
    return Stream::Receiver{
        .begin = [this, number, channel](const Message& message) -> Ns {
          const bool ours = !closed_ && link_up_ && number == number_;
          last_progress_ = ours ? world_.time.now() : last_progress_;
          return ours && message.kind == K::kPages ? begin_pages(channel, message) : 1'000;
        },
        .end =
            [this, number, channel](const Message& message) {
              if (closed_) {
                return;
              }
              if (number > number_ && channel == ChannelName::kControl &&
                  message.kind == K::kHello && may_resume()) {
                next_number_ = number;
                take(TargetEvent::kResumed);
                return;
              }
              if (!link_up_ || number != number_) {
                return;
              }
              if (message.kind == K::kEnd) {
                // Once all pages are here, only the control channel is heard.
                if (channel == ChannelName::kControl ||
                    machine_.state() != TargetState::kConfirming) {
                  on_link_lost(number);
                }
              } else if (message.kind == K::kPages) {
                end_pages(channel, message);
              } else if (message.kind == K::kHello && channel != ChannelName::kControl) {
                send(channel, {K::kWelcome});
                if (channel == ChannelName::kUrgent && number != 0) {
                  ask_again();
                }
                if (++hellos_ == scenario_.options.channels + 1) {
                  take(TargetEvent::kChannelsOpen);
                  check_complete();
                }
              } else if (channel == ChannelName::kControl) {
                on_control(message);
              } else {
                on_bulk(channel, message);
              }
            }};
  });
}

// ------------------------------------------------------------------------------ events and actions

void SimTarget::take(TargetEvent event) {
  const auto* row = machine_.on(event);
  if (row == nullptr) {
    if (machine_.ended()) {
      return;
    }
    if (!scenario_.bugs.any()) {
      world_.violation("illegal at the target: " + std::string(to_string(event)) + " in " +
                       std::string(to_string(machine_.state())));
    }
    if (event != TargetEvent::kLocalError) {
      protocol_error();
    }
    return;
  }
  act(row->actions);
  on_state();
}

void SimTarget::act(std::uint32_t actions) {
  const auto with = [&](std::uint32_t action) { return (actions & action) != 0; };
  if (with(engine::kTgtDropLink)) {
    drop_link();
    if (!scenario_.recovers) {
      close();
      world_.time.after(0, [this] { take(TargetEvent::kTimeout); });
    }
  }
  if (with(engine::kTgtTakeLink)) {
    take_link();
  }
  if (with(engine::kTgtTellMissing)) {
    tell_missing();
  }
  if (with(engine::kTgtTellComplete)) {
    send(ChannelName::kControl, {K::kRunning});
    send(ChannelName::kControl, {K::kComplete});
  }
  if (with(engine::kTgtWelcome)) {
    watch();
    send(ChannelName::kControl, {K::kWelcome});
  }
  if (with(engine::kTgtAccept)) {
    send(ChannelName::kControl, {K::kAccept});
  }
  if (with(engine::kTgtRefuse)) {
    send(ChannelName::kControl, {K::kRefuse});
  }
  if (with(engine::kTgtLoad)) {
    load();
  }
  if (with(engine::kTgtSendReady)) {
    send(ChannelName::kControl, {K::kReady});
  }
  if (with(engine::kTgtRun)) {
    guest_.run_on(*this);
    send(ChannelName::kControl, {K::kRunning});
    world_.time.after(0, [this] { check_complete(); });
  }
  if (with(engine::kTgtComplete)) {
    armed_ = false;
    send(ChannelName::kControl, {K::kComplete});
    waiters_.clear();
    for (unsigned i = 0; i < guest_.vcpus() && guest_.runner() == this; ++i) {
      guest_.wake(i);
    }
  }
  if (with(engine::kTgtAckCancel)) {
    send(ChannelName::kControl, {K::kCancelAck});
  }
  if (with(engine::kTgtSendAbort)) {
    send(ChannelName::kControl, {K::kAbort});
  }
  if (with(engine::kTgtDiscard) || with(engine::kTgtHold)) {
    close();
  }
}

void SimTarget::on_link_lost(unsigned link) {
  if (link == number_ && link_up_ && !machine_.ended() &&
      machine_.state() != TargetState::kListening) {
    take(TargetEvent::kLinkLost);
  }
}

bool SimTarget::may_resume() const {
  return scenario_.recovers && machine_.state() >= TargetState::kReady && !machine_.ended();
}

/// A frame that is being read is given up: its pages are absent again.
void SimTarget::drop_link() {
  link_up_ = false;
  for (const auto channel : kChannels) {
    for (const auto& page : std::exchange(writing_[static_cast<std::size_t>(channel)], {})) {
      --writers_[page.page];
      if (page.claimed) {
        states_->abandon(page.page, owner_of(channel));
      }
    }
    link_.to_source(channel, number_).close_sender();
    link_.to_target(channel, number_).close_receiver();
  }
}

void SimTarget::take_link() {
  number_ = next_number_;
  link_up_ = true;
  hellos_ = 0;
  send(ChannelName::kControl, {K::kWelcome});
}

void SimTarget::tell_missing() {
  if (machine_.state() != TargetState::kReady) {
    send(ChannelName::kControl, {K::kRunning});
  }
  Message missing{K::kMissing};
  states_->for_each_absent([&](PageRun run) { missing.runs.push_back(run); }, nullptr);
  missing.count = states_->absent_pages();
  missing.hash = states_->absent_hash();
  if (scenario_.bugs.old_missing) {
    missing.runs = old_missing_;
  }
  send(ChannelName::kControl, std::move(missing));
}

void SimTarget::ask_again() {
  states_->for_each_absent(nullptr, [this](PageId page) {
    Message request{K::kPageRequest};
    request.pages.emplace_back(page, 0);
    send(ChannelName::kUrgent, std::move(request));
  });
}

void SimTarget::cancel() {
  // Once READY is out only the source or an operator who fences it may say that this guest never
  // runs.
  if (machine_.state() < TargetState::kReady && machine_.state() != TargetState::kListening) {
    take(TargetEvent::kLocalError);
  }
}

void SimTarget::protocol_error() {
  if (!machine_.ended()) {
    take(machine_.state() >= TargetState::kReady ? TargetEvent::kLinkLost
                                                 : TargetEvent::kLocalError);
  }
}

void SimTarget::watch() {
  world_.time.after(scenario_.timeout_ns / 4, [this] {
    if (world_.time.now() - last_progress_ > scenario_.timeout_ns &&
        machine_.state() < TargetState::kReady) {
      take(TargetEvent::kTimeout);
    }
    if (!machine_.ended()) {
      watch();
    }
  });
}

void SimTarget::close() {
  if (std::exchange(closed_, true)) {
    return;
  }
  for (const auto channel : kChannels) {
    link_.to_source(channel, number_).close_sender();
    link_.to_target(channel, number_).close_receiver();
  }
}

void SimTarget::send(ChannelName channel, Message message) {
  if (link_up_) {
    link_.to_source(channel, number_).send(std::move(message));
  }
}

bool SimTarget::receiving() const {
  return machine_.state() == TargetState::kReceiving;
}

void SimTarget::on_control(const Message& message) {
  switch (message.kind) {
    case K::kHello:
      return take(TargetEvent::kHello);
    case K::kDescribe:
      return take(scenario_.mishap == Mishap::kRefusal ? TargetEvent::kRefused
                                                       : TargetEvent::kDescribed);
    case K::kStale:
      return on_stale(message);
    case K::kFinalSync:
      return on_final_sync(message);
    case K::kState:
      return take(TargetEvent::kFinalSync);
    case K::kCommit:
      return take(TargetEvent::kCommit);
    case K::kCancel:
      return take(TargetEvent::kCancel);
    case K::kFinish:
      take(TargetEvent::kFinish);
      return close();
    default:
      world_.violation("a message at the target that does not belong there");
  }
}

void SimTarget::on_bulk(ChannelName channel, const Message& message) {
  if (message.kind == K::kStale) {
    on_stale(message);
  } else if (message.kind == K::kBarrier) {
    send(channel, {K::kBarrierAck});
  }
}

void SimTarget::on_stale(const Message& message) {
  if (!receiving() || final_sync_seen_) {
    return protocol_error();
  }
  for (const auto run : message.runs) {
    if (auto marked = states_->mark_absent(run); !marked) {
      if (!scenario_.bugs.any()) {
        world_.violation("stale announcement refused: " + marked.error().message());
      }
      return protocol_error();
    }
    if (scenario_.placing == engine::Placing::kMaps && !scenario_.bugs.skip_retract) {
      for (auto index = run.first; index < run.end(); ++index) {
        mapped_[{run.region, index}] = false;
        memory_[{run.region, index}] = 0;
      }
    }
  }
}

void SimTarget::on_final_sync(const Message& message) {
  if (!receiving()) {
    return take(TargetEvent::kFinalSync);  // illegal; says so
  }
  final_sync_seen_ = true;
  states_->for_each_absent([this](PageRun run) { old_missing_.push_back(run); }, nullptr);
  if (message.count != states_->absent_pages() || message.hash != states_->absent_hash()) {
    world_.violation("source and target disagree about the missing pages");
    protocol_error();
  }
}

// ------------------------------------------------------------------------------ loading and faults

void SimTarget::load() {
  armed_ = true;
  load_touch(static_cast<unsigned>(world_.random.below(3)));
}

/// Loading devices and vCPUs touches guest memory, which may not be here yet.
void SimTarget::load_touch(unsigned left) {
  world_.time.after(world_.between(10'000, 300'000), [this, left] {
    if (machine_.state() != TargetState::kLoading) {
      return;
    }
    if (left == 0) {
      take(scenario_.mishap == Mishap::kLoadError ? TargetEvent::kLoadFailed
                                                  : TargetEvent::kLoaded);
      return;
    }
    touches_left_ = left;
    const auto page = guest_.some_page();
    if (mapped_[page]) {
      check_loader_read(page);
      load_touch(left - 1);
    } else {
      fault({page, 0, true});
    }
  });
}

void SimTarget::check_loader_read(PageId page) {
  // After a cancel the guest may run on at the source while this side has not heard of it: what is
  // read is thrown away.
  if (guest_.runner() == nullptr) {
    guest_.check_read(*this, page);
  }
}

bool SimTarget::access(unsigned vcpu, PageId page, bool /*write*/) {
  if (!armed_ || mapped_[page]) {
    return true;
  }
  fault({page, vcpu, false});
  return false;
}

/// The access waits in the kernel; the urgent loop reads the fault a moment later.
void SimTarget::fault(Waiter waiter) {
  waiters_.push_back(waiter);
  world_.time.after(world_.between(1'000, 60'000), [this, page = waiter.page] {
    if (!armed_ || closed_) {
      return;
    }
    switch (states_->on_fault(page)) {
      case FaultDecision::kMap:
        map_around(page);
        break;
      case FaultDecision::kRequest: {
        Message request{K::kPageRequest};
        request.pages.emplace_back(page, 0);
        send(ChannelName::kUrgent, std::move(request));
        break;
      }
      case FaultDecision::kWait:
        break;
    }
  });
}

void SimTarget::map_around(PageId page) {
  const auto run = states_->mappable_run(page);
  for (auto index = run.first; index < run.end(); ++index) {
    mapped_[{run.region, index}] = true;
  }
  states_->mark_mapped(run);
  for (auto index = run.first; index < run.end(); ++index) {
    wake({run.region, index});
  }
}

void SimTarget::wake(PageId page) {
  std::vector<Waiter> woken;
  for (auto at = waiters_.begin(); at != waiters_.end();) {
    if (at->page == page) {
      woken.push_back(*at);
      at = waiters_.erase(at);
    } else {
      ++at;
    }
  }
  for (const auto& waiter : woken) {
    if (waiter.loader) {
      check_loader_read(page);
      load_touch(touches_left_ - 1);
    } else if (guest_.runner() == this) {
      guest_.wake(waiter.vcpu);
    }
  }
}

// ------------------------------------------------------------------------------------- pages

/// The first bytes of a frame are here: pages are claimed before anything is written.
Ns SimTarget::begin_pages(ChannelName channel, const Message& message) {
  auto& writing = writing_[static_cast<std::size_t>(channel)];
  writing.clear();
  const bool precopy = message.phase == Phase::kPrecopy;
  if (precopy && (!receiving() || final_sync_seen_) && !scenario_.bugs.accept_late_precopy) {
    protocol_error();
    return 1'000;
  }
  for (const auto& [page, content] : message.pages) {
    if (scenario_.bugs.skip_claim && !precopy) {
      // The planted bug: whoever has bytes writes them. A page that nobody has claimed is claimed
      // for the books.
      const auto claim = states_->claim(page, owner_of(channel));
      ++writers_[page];
      if (writers_[page] > 1) {
        world_.violation("two writers of one page");
      }
      writing.push_back({page, content, claim.claimed, true});
      continue;
    }
    const auto claim = states_->claim(page, owner_of(channel));
    if (!claim.claimed) {
      if (precopy && !scenario_.bugs.any()) {
        world_.violation("a page came in pre-copy that was not announced");
      }
      continue;  // somebody else has it: these bytes go to scratch
    }
    if (++writers_[page] > 1) {
      world_.violation("two writers of one page");
    }
    writing.push_back({page, content, true, claim.backed});
  }
  return 1'000 + static_cast<Ns>(message.pages.size()) * scenario_.link.ns_per_page;
}

void SimTarget::end_pages(ChannelName channel, const Message& message) {
  const auto owner = owner_of(channel);
  for (const auto& page : std::exchange(writing_[static_cast<std::size_t>(channel)], {})) {
    --writers_[page.page];
    // A zero page is not written where the file has a hole: the hole must then read zero.
    if (page.content != 0 || page.backed) {
      memory_[page.page] = page.content;
    }
    if (message.phase != Phase::kPrecopy && ++installed_after_switch_[page.page] > 1) {
      world_.violation("a page was installed twice after the switch");
    }
    if (!page.claimed) {
      continue;
    }
    const bool requested = states_->publish(page.page, owner, page.content != 0 || page.backed);
    const bool filled = page.content != 0 || page.backed;
    if (filled && scenario_.placing == engine::Placing::kMaps) {
      mapped_[page.page] = true;
      wake(page.page);
    } else if (requested) {
      map_around(page.page);
    }
  }
  check_complete();
}

void SimTarget::check_complete() {
  if (machine_.state() == TargetState::kRunning && states_->absent_pages() == 0) {
    take(TargetEvent::kAllPresent);
  }
}

}  // namespace godwit::sim
