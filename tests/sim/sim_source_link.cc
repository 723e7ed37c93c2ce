// A link that is lost or says nothing for too long: the part of SimSource that gives it up and takes up
// another one.
#include <algorithm>

#include "sim_source.h"

namespace godwit::sim {

using engine::SourceEvent;
using engine::SourceState;
using K = MessageKind;

namespace {

/// Longer than any outage; as ReconnectWindow, without its care for losses in a row.
constexpr Ns kDialsFor = 3'000'000'000;

}  // namespace

void SimSource::on_link_lost(unsigned link) {
  if (link == number_ && !machine_.ended() && machine_.state() != SourceState::kIdle && !dials_) {
    take(SourceEvent::kLinkLost);
  }
}

void SimSource::drop_link() {
  for (const auto channel : kChannels) {
    link_.to_target(channel, number_).close_sender();
    link_.to_source(channel, number_).close_receiver();
  }
  const bool first = !resyncing_;
  lost_at_ = first ? world_.time.now() : lost_at_;
  resyncing_ = true;
  dials_ = true;
  urgent_queue_.clear();
  urgent_sending_ = false;
  welcomes_ = 0;
  target_runs_ = false;
}

/// The link may be down when it is dialled: then once more, a little later.
void SimSource::dial() {
  if (!dials_) {
    return;
  }
  if (world_.time.now() - lost_at_ > kDialsFor) {
    dials_ = false;
    return take(SourceEvent::kTimeout);
  }
  if (link_.is_down()) {
    world_.time.after(world_.between(50'000, 2'000'000), [this] { dial(); });
    return;
  }
  dials_ = false;
  number_ = link_.renew();
  last_progress_ = world_.time.now();
  take(SourceEvent::kConnected);
}

/// What the target misses, and no other page, is pending.
void SimSource::on_missing(const Message& message) {
  if (machine_.state() == SourceState::kRevoking) {
    return;
  }
  if (!scenario_.bugs.keep_claims) {
    ledger_.give_back(
        message.runs, [this](RegionIndex region, std::uint64_t word, std::uint64_t bits) {
          engine::for_each_run(word, bits, [&](std::uint64_t first, std::uint64_t count) {
            sent_again_ += count;
            for (auto page = first; page < first + count; ++page) {
              sent_after_switch_[{region, page}] = 0;
            }
          });
        });
  }
  if (ledger_.pending_pages() != message.count || ledger_.pending_hash() != message.hash) {
    world_.violation("source and target disagree about the missing pages after a lost link");
  }
  for (std::uint32_t i = 0; i < scenario_.options.channels; ++i) {
    send(bulk(i), {K::kHello});
  }
  send(ChannelName::kUrgent, {K::kHello});
}

void SimSource::on_this_link_after(Ns delay, std::function<void()> then) {
  world_.time.after(delay, [this, number = number_, next = std::move(then)] {
    if (!closed_ && number == number_) {
      next();
    }
  });
}

void SimSource::watch() {
  world_.time.after(scenario_.timeout_ns / 4, [this] {
    const auto legal = [&](const engine::SourceTransition& row) {
      return row.from == machine_.state() && row.event == SourceEvent::kTimeout;
    };
    const auto table = engine::SourceMachine::table();
    const bool waits = !dials_ && (!machine_.decided() || machine_.state() == SourceState::kResync);
    if (world_.time.now() - last_progress_ > scenario_.timeout_ns && waits &&
        std::any_of(table.begin(), table.end(), legal)) {
      take(SourceEvent::kTimeout);
    }
    if (!machine_.ended()) {
      watch();
    }
  });
}

}  // namespace godwit::sim
