#include "target/lanes.h"

#include <algorithm>
#include <utility>

#include "policy/lanes.h"

namespace godwit::engine {

TargetLanes::TargetLanes(TargetPlane& plane,
                         Transport& transport,
                         wire::Welcome session,
                         TargetNotes notes,
                         Options options)
    : plane_(plane),
      transport_(transport),
      session_(std::move(session)),
      notes_(std::move(notes)),
      options_(options),
      waiting_(options.channels) {}

Status TargetLanes::add_channel(std::unique_ptr<Channel> channel, std::uint32_t index) {
  waiting_[index] = std::move(channel);
  return std::ranges::all_of(waiting_, [](const auto& one) { return one != nullptr; }) ? start()
                                                                                       : Status{};
}

Status TargetLanes::start() {
  const auto channels = options_.channels;
  const auto lanes = lane_count(channels);
  for (std::uint32_t i = 0; i < lanes; ++i) {
    GODWIT_TRY_ASSIGN(auto loop, transport_.make_loop());
    lanes_.push_back(std::make_unique<TargetLane>(
        plane_,
        std::move(loop),
        session_,
        notes_,
        TargetLane::Options{
            .channels = channels,
            .sweeps = i == 0,
            .trace_faults = options_.trace_faults,
            .cpu_priority = options_.cpu_priority}));
  }
  for (std::uint32_t i = 0; i < channels; ++i) {
    GODWIT_TRY(lanes_[i % lanes]->add_channel(std::move(waiting_[i]), i));
  }
  for (auto& lane : lanes_) {
    GODWIT_TRY(lane->start());
  }
  return {};
}

bool TargetLanes::all_open() const {
  return !lanes_.empty() &&
         std::ranges::all_of(lanes_, [](const auto& lane) { return lane->is_open(); });
}

void TargetLanes::wake() {
  for (auto& lane : lanes_) {
    lane->wake();
  }
}

void TargetLanes::shut_down() {
  for (auto& lane : lanes_) {
    lane->shut_down();
  }
}

void TargetLanes::stop() {
  for (auto& lane : lanes_) {
    lane->stop();
  }
}

std::uint64_t TargetLanes::bytes_received() const {
  std::uint64_t sum = 0;
  for (const auto& lane : lanes_) {
    sum += lane->bytes_received();
  }
  return sum;
}

}  // namespace godwit::engine
