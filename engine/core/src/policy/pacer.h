#pragma once

#include <algorithm>
#include <cstdint>

namespace godwit::engine {

/// Holds a stream to a rate: the next frame may leave when the bytes before it have had their time.
/// Units: bytes per second; 0 = unlimited. Sans-clock: the caller says what time it is.
class Pacer {
 public:
  explicit Pacer(std::uint64_t bytes_per_s) : bytes_per_s_(bytes_per_s) {}
  [[nodiscard]] bool may_send(std::int64_t now_ns) const {
    return bytes_per_s_ == 0 || now_ns >= next_ns_;
  }
  [[nodiscard]] std::int64_t next_ns() const { return next_ns_; }
  void spent(std::uint64_t bytes, std::int64_t now_ns) {
    if (bytes_per_s_ != 0) {
      const auto cost = static_cast<std::int64_t>(static_cast<double>(bytes) * 1e9 /
                                                  static_cast<double>(bytes_per_s_));
      next_ns_ = std::max(next_ns_, now_ns) + cost;
    }
  }

 private:
  std::uint64_t bytes_per_s_;
  std::int64_t next_ns_ = 0;
};

}  // namespace godwit::engine
