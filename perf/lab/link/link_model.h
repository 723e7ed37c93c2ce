#pragma once

#include <cstdint>
#include <deque>

#include "godwit/base/random.h"

#include "link/link_spec.h"

namespace godwit::lab {

/// What becomes of one packet.
struct Passage {
  enum class Fate : std::uint8_t {
    kDelivered = 1,
    kQueueFull,  ///< the buffer of the bottleneck had no room
    kLost,       ///< on the way, by chance
    kCut,        ///< the link is cut
  };
  Fate fate = Fate::kDelivered;
  std::int64_t at_ns = 0;  ///< delivered: when it comes out
};

/// One direction of a link: a buffer with tail drop, a bottleneck that empties it at a rate, then a
/// way of some length on which packets may get lost. Knows neither clocks nor sockets: packets go
/// in with a time, and come out with a time. Guarantees: no packet overtakes another; the same
/// offers with the same seed give the same.
class LinkModel {
 public:
  LinkModel(const LinkSpec& spec, std::uint64_t seed) : spec_(spec), random_(seed) {}

  /// A packet enters. Requires: times do not go back; 0 is the link's first packet.
  /// Cost: no allocation in the long run.
  Passage offer(std::int64_t now_ns, std::uint64_t bytes);
  /// Bytes that wait for the bottleneck or are on it.
  [[nodiscard]] std::uint64_t queued_bytes() const { return queued_bytes_; }

 private:
  struct Queued {
    std::int64_t sent_ns;  ///< when it has left the bottleneck
    std::uint64_t bytes;
  };
  [[nodiscard]] std::int64_t sent_at(std::int64_t now_ns, std::uint64_t bytes) const;
  bool chance(double share);

  LinkSpec spec_;
  SplitMix64 random_;
  std::deque<Queued> queue_;
  std::uint64_t queued_bytes_ = 0;
  std::int64_t free_ns_ = 0;  ///< when the bottleneck has sent everything
  std::int64_t last_ns_ = 0;  ///< when the last packet comes out
};

}  // namespace godwit::lab
