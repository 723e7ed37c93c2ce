#pragma once

#include <cstdint>
#include <string>

namespace godwit {

/// CLOCK_MONOTONIC, in nanoseconds: comparable between processes of one boot.
std::int64_t monotonic_ns();
/// CLOCK_REALTIME, in nanoseconds: comparable between hosts as far as they keep time.
std::int64_t realtime_ns();
/// CPU time of this process (user + system), in nanoseconds.
std::int64_t process_cpu_ns();
/// The kernel's boot id; equal on both sides when their CLOCK_MONOTONIC can be compared.
std::string boot_id();

/// A point in CLOCK_MONOTONIC after which waiting ends.
struct Deadline {
  std::int64_t at_ns = INT64_MAX;
  static Deadline never() { return {}; }
  static Deadline after_ns(std::int64_t ns) { return {monotonic_ns() + ns}; }
  /// Nanoseconds left, never negative; INT64_MAX for never().
  [[nodiscard]] std::int64_t left_ns() const {
    if (at_ns == INT64_MAX) {
      return INT64_MAX;
    }
    const auto left = at_ns - monotonic_ns();
    return left > 0 ? left : 0;
  }
  [[nodiscard]] bool passed() const { return at_ns != INT64_MAX && monotonic_ns() >= at_ns; }
};

}  // namespace godwit
