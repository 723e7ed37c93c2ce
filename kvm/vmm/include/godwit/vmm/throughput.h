#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace godwit::vmm {

/// What a guest did in each interval of time, all vCPUs together: its touches; of an idle guest,
/// which touches nothing, its steps. Neither the initial fill nor a sweep counts.
struct Throughput {
  static constexpr std::int64_t kIntervalNs = 10'000'000;

  /// Interval n reaches from n * kIntervalNs of CLOCK_MONOTONIC to just before the next. So all
  /// processes of one host number alike, and what they saw of one guest is added.
  static constexpr std::int64_t number_of(std::int64_t stamp_ns) {
    const auto number = stamp_ns / kIntervalNs;
    return stamp_ns % kIntervalNs < 0 ? number - 1 : number;
  }

  std::int64_t first = 0;              ///< number of the first interval
  std::vector<std::uint64_t> touches;  ///< of it and those that follow

  [[nodiscard]] std::int64_t end() const {
    return first + static_cast<std::int64_t>(touches.size());
  }
  /// Zero outside.
  [[nodiscard]] std::uint64_t at(std::int64_t number) const {
    return number >= first && number < end() ? touches[static_cast<std::size_t>(number - first)]
                                             : 0;
  }
  /// Adds what `other` has of these intervals.
  void add(const Throughput& other);
};

/// Moments of a migration on the clock of its intervals. Units: ns.
struct MigrationSpan {
  std::int64_t began_ns = 0;
  std::int64_t blackout_end_ns = 0;  ///< 0 = the guest has not moved
  std::int64_t ended_ns = 0;
};

/// How a migration was felt. A figure is left out where the intervals do not tell it: fewer than
/// five before the migration, or a median of zero there.
struct ThroughputFigures {
  /// From the end of the blackout until the throughput first stays for 50 ms at 90 % or more of the
  /// median before the migration, or one short of that median: an idle guest's interval of nine
  /// steps often has eight. At least one touch in each. 0 where the interval in which the blackout
  /// ends begins such a stretch. Left out where it is not reached.
  std::optional<std::int64_t> recovery_ns;
  /// The lowest interval from the begin to the end of the migration, as a share of that median.
  /// Left out where they are not all there.
  std::optional<double> valley;
};
ThroughputFigures figures_of(const Throughput& throughput, const MigrationSpan& span);

}  // namespace godwit::vmm
