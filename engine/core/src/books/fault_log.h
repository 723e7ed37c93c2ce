#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "godwit/base/histogram.h"
#include "godwit/engine/trace.h"

namespace godwit::engine {

/// What one thread of the target notes of the faults that it answers: each one's latency, and for a
/// timeline the moments of the first ones. Thread: its owner; read when that has ended.
class FaultLog {
 public:
  /// `kept`: faults whose moments are noted. Their memory is written here, so that noting one
  /// neither allocates nor faults.
  explicit FaultLog(std::size_t kept) : kept_(kept) {}

  void note(PageId page, std::int64_t read_ns, std::int64_t woken_ns) {
    latencies_.record(static_cast<std::uint64_t>(woken_ns - read_ns));
    if (used_ < kept_.size()) {
      kept_[used_++] = {page, read_ns, woken_ns};
    }
  }
  [[nodiscard]] const Histogram& latencies() const { return latencies_; }
  [[nodiscard]] std::span<const TraceFault> kept() const { return {kept_.data(), used_}; }

 private:
  Histogram latencies_;
  std::vector<TraceFault> kept_;
  std::size_t used_ = 0;
};

/// Leaves the `most` earliest faults, in order.
inline void keep_earliest(std::vector<TraceFault>& faults, std::size_t most) {
  std::ranges::sort(
      faults, {}, [](const TraceFault& fault) { return std::pair(fault.read_ns, fault.woken_ns); });
  faults.resize(std::min(faults.size(), most));
}

}  // namespace godwit::engine
