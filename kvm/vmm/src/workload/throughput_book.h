#pragma once

#include <cstdint>
#include <memory>

namespace godwit::vmm {

/// Touches of one vCPU by the interval (Throughput::number_of()) of the doorbell that told of them.
/// It keeps the last 65,536 intervals, almost eleven minutes, and forgets what is older.
/// Thread: one at a time. Cost: 256 KiB of address space, of which only what was counted becomes
/// resident; add() clears the intervals that passed since the last one and allocates nothing.
class ThroughputBook {
 public:
  static constexpr std::int64_t kIntervals = 65'536;

  ThroughputBook();
  /// What lies before everything that is kept is dropped.
  void add(std::int64_t stamp_ns, std::uint64_t touches);
  /// Zero where nothing was counted, or is no longer kept.
  [[nodiscard]] std::uint64_t at(std::int64_t number) const {
    return number >= first_ && number < end_ ? slot(number) : 0;
  }

 private:
  /// More than a vCPU does in an interval, whatever a damaged guest claims.
  using Count = std::uint32_t;

  [[nodiscard]] Count& slot(std::int64_t number) const {
    return counts_[static_cast<std::uint64_t>(number) % kIntervals];
  }

  std::unique_ptr<Count[]> counts_;
  std::int64_t first_ = 0;
  std::int64_t end_ = 0;
};

}  // namespace godwit::vmm
