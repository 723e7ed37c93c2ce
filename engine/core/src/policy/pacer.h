#pragma once

#include <algorithm>
#include <cstdint>

#include "godwit/base/units.h"

namespace godwit::engine {

/// Holds a stream to a rate: the next frame may leave when the bytes before it have had their time.
/// Units: bytes per second; 0 = unlimited. Sans-clock: the caller says what time it is.
class Pacer {
 public:
  /// A sender that comes late, since it waited for a processor, may catch up on so much.
  static constexpr std::int64_t kCatchUpNs = 20'000'000;
  /// Of a frame: longer ones would make the stream come in jerks, and a slow one look dead.
  static constexpr std::int64_t kFrameNs = 50'000'000;

  explicit Pacer(std::uint64_t bytes_per_s) : bytes_per_s_(bytes_per_s) {}
  /// The pages of a frame: as many as are sent in kFrameNs, at least one and at most `most`.
  [[nodiscard]] std::uint32_t frame_pages(std::uint32_t most) const {
    if (bytes_per_s_ == 0) {
      return most;
    }
    const auto pages = bytes_per_s_ / (1'000'000'000 / kFrameNs) / kPageBytes;
    return static_cast<std::uint32_t>(std::clamp<std::uint64_t>(pages, 1, most));
  }
  [[nodiscard]] bool may_send(std::int64_t now_ns) const {
    return bytes_per_s_ == 0 || now_ns >= next_ns_;
  }
  [[nodiscard]] std::int64_t next_ns() const { return next_ns_; }
  void spent(std::uint64_t bytes, std::int64_t now_ns) {
    if (bytes_per_s_ != 0) {
      const auto cost = static_cast<std::int64_t>(static_cast<double>(bytes) * 1e9 /
                                                  static_cast<double>(bytes_per_s_));
      next_ns_ = std::max(next_ns_, now_ns - kCatchUpNs) + cost;
    }
  }

 private:
  std::uint64_t bytes_per_s_;
  std::int64_t next_ns_ = 0;
};

}  // namespace godwit::engine
