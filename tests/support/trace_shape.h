#pragma once

#include <string>
#include <vector>

#include "support/json_view.h"

namespace godwit::test {

/// Half of a nanosecond: what writing whole nanoseconds as microseconds may add or lose.
inline constexpr double kTraceRoundingUs = 0.0005;

/// A slice as a viewer sees it. Units: microseconds.
struct Slice {
  std::string name;
  double began = 0;
  double ended = 0;
  Json arguments;

  [[nodiscard]] bool holds(const Slice& other, double slack_us = kTraceRoundingUs) const {
    return began <= other.began + slack_us && other.ended <= ended + slack_us;
  }
  [[nodiscard]] double length() const { return ended - began; }
};

/// The slices of the process's tracks whose name begins with `track`, in order of their beginning.
std::vector<Slice> slices_of(const Json& trace, int process, const std::string& track);
/// The one slice of that name.
Slice slice_named(const std::vector<Slice>& slices, const std::string& name);
/// What viewers ask of every trace: complete events, tracks with names, and on each track slices
/// that follow or contain one another, to the last bit of their times.
void expect_trace_shape(const Json& trace);

}  // namespace godwit::test
