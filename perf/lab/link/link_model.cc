#include "link/link_model.h"

#include <algorithm>

namespace godwit::lab {
namespace {

constexpr std::uint64_t kNsPerS = 1'000'000'000;

}  // namespace

/// A stall holds the bottleneck: what it was sending goes on where it stopped.
std::int64_t LinkModel::sent_at(std::int64_t now_ns, std::uint64_t bytes) const {
  const auto start = std::max(now_ns, free_ns_);
  const auto rate = spec_.bandwidth_bits_per_s;
  const auto sending =
      rate == 0 ? 0 : static_cast<std::int64_t>((bytes * 8 * kNsPerS + rate - 1) / rate);
  const auto sent = start + sending;
  if (!spec_.stall) {
    return sent;
  }
  const auto from = spec_.stall->after_ns;
  const auto to = from + spec_.stall->for_ns;
  if (sent <= from || start >= to) {
    return sent;
  }
  return sent + (to - std::max(start, from));
}

bool LinkModel::chance(double share) {
  constexpr double kUnit = 1.0 / static_cast<double>(1ULL << 53);
  return static_cast<double>(random_.next() >> 11) * kUnit < share;
}

Passage LinkModel::offer(std::int64_t now_ns, std::uint64_t bytes) {
  while (!queue_.empty() && queue_.front().sent_ns <= now_ns) {
    queued_bytes_ -= queue_.front().bytes;
    queue_.pop_front();
  }
  if (spec_.cut_after_ns && now_ns >= *spec_.cut_after_ns) {
    return {Passage::Fate::kCut, 0};
  }
  // An empty buffer takes anything: a packet larger than it could never pass otherwise.
  const bool full = spec_.buffer_bytes != 0 && queued_bytes_ + bytes > spec_.buffer_bytes;
  if (full && !queue_.empty()) {
    return {Passage::Fate::kQueueFull, 0};
  }
  free_ns_ = sent_at(now_ns, bytes);
  queue_.push_back({free_ns_, bytes});
  queued_bytes_ += bytes;
  if (chance(spec_.loss)) {
    return {Passage::Fate::kLost, 0};
  }
  const auto jitter_ns = static_cast<std::uint64_t>(spec_.jitter_us) * 1000;
  const auto way_ns =
      spec_.delay_us * 1000 / 2 +
      (jitter_ns == 0 ? 0 : static_cast<std::int64_t>(random_.below(jitter_ns + 1)));
  last_ns_ = std::max(last_ns_, free_ns_ + way_ns);
  if (spec_.cut_after_ns && last_ns_ >= *spec_.cut_after_ns) {
    return {Passage::Fate::kCut, 0};
  }
  return {Passage::Fate::kDelivered, last_ns_};
}

}  // namespace godwit::lab
