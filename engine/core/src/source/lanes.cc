#include "source/lanes.h"

#include <algorithm>

#include <fmt/format.h>

#include "policy/lanes.h"
#include "source/lane.h"

namespace godwit::engine {

SourceLanes::SourceLanes(SourcePlane& plane, SourceNotes notes, wire::Hello hello)
    : plane_(plane),
      notes_(std::move(notes)),
      hello_(std::move(hello)),
      pacer_(plane.options.max_bandwidth),
      stale_(plane.options.channels) {}

SourceLanes::~SourceLanes() {
  stop();
}

Status SourceLanes::open(Transport& transport, Deadline deadline) {
  const auto channels = plane_.options.channels;
  const auto lanes = lane_count(channels);
  for (std::uint32_t i = 0; i < lanes; ++i) {
    GODWIT_TRY_ASSIGN(auto loop, transport.make_loop());
    lanes_.push_back(std::make_unique<SourceLane>(*this, std::move(loop)));
  }
  for (std::uint32_t i = 0; i < channels; ++i) {
    GODWIT_TRY_ASSIGN(auto channel, transport.connect(ChannelKind::kBulk, deadline));
    GODWIT_TRY(lanes_[i % lanes]->add_channel(std::move(channel), i, deadline));
  }
  for (std::uint32_t i = 0; i < lanes; ++i) {
    GODWIT_TRY(lanes_[i]->start(fmt::format("godwit-bulk{}", i)));
  }
  return {};
}

bool SourceLanes::all_open() const {
  // acquire: pairs with the lanes' count of answers.
  return open_.load(std::memory_order_acquire) == plane_.options.channels;
}

void SourceLanes::announce(PageRun run) {
  const auto channels = plane_.options.channels;
  if (channels == 1) {
    stale_[0].push_back(run);
    return;
  }
  while (run.count != 0) {
    const auto room = wire::kChunkPages - run.first % wire::kChunkPages;
    const PageRun part{run.region, run.first, std::min(room, run.count)};
    stale_[wire::channel_of({part.region, part.first}, channels)].push_back(part);
    run.first += part.count;
    run.count -= part.count;
  }
}

void SourceLanes::issue(const Order& order) {
  ++issued_;
  for (auto& lane : lanes_) {
    lane->give(order, stale_);
  }
}

void SourceLanes::start_round(bool live) {
  issue({.work = Work::kRound, .live = live});
}

void SourceLanes::send_barrier(std::uint64_t id) {
  issue({.work = Work::kBarrier, .barrier_id = id});
}

void SourceLanes::start_stream() {
  issue({.work = Work::kStream});
}

bool SourceLanes::done() const {
  return std::ranges::all_of(lanes_,
                             [this](const auto& lane) { return lane->orders_done() == issued_; });
}

void SourceLanes::halt() {
  // release: pairs with pump().
  halted_.store(true, std::memory_order_release);
}

void SourceLanes::shut_down() {
  for (auto& lane : lanes_) {
    lane->shut_down();
  }
}

void SourceLanes::stop() {
  for (auto& lane : lanes_) {
    lane->stop();
  }
}

std::uint64_t SourceLanes::bytes_moved() const {
  std::uint64_t sum = 0;
  for (const auto& lane : lanes_) {
    sum += lane->bytes_moved();
  }
  return sum;
}

std::int64_t SourceLanes::progress_ns() const {
  std::int64_t latest = 0;
  for (const auto& lane : lanes_) {
    latest = std::max(latest, lane->progress_ns());
  }
  return latest;
}

std::int64_t SourceLanes::waited_ns() const {
  std::int64_t sum = 0;
  for (const auto& lane : lanes_) {
    sum += lane->waited_ns();
  }
  return sum;
}

bool SourceLanes::raised() const {
  return std::ranges::any_of(lanes_, [](const auto& lane) { return lane->raised(); });
}

}  // namespace godwit::engine
