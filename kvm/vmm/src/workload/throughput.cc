#include "godwit/vmm/throughput.h"

#include <algorithm>

namespace godwit::vmm {
namespace {

constexpr std::int64_t kBeforeMin = 5;  ///< intervals that a median needs
constexpr std::int64_t kSteady = 50'000'000 / Throughput::kIntervalNs;
constexpr double kRecovered = 0.9;

/// Of the intervals that lie before `began`; 0 when they are too few.
double median_before(const Throughput& throughput, std::int64_t began) {
  const auto count = std::min(began, throughput.end()) - throughput.first;
  if (count < kBeforeMin) {
    return 0;
  }
  std::vector<std::uint64_t> before(throughput.touches.begin(), throughput.touches.begin() + count);
  std::sort(before.begin(), before.end());
  const auto middle = before.size() / 2;
  const auto upper = static_cast<double>(before[middle]);
  return before.size() % 2 == 1 ? upper : (static_cast<double>(before[middle - 1]) + upper) / 2;
}

std::optional<std::int64_t> recovery_of(const Throughput& throughput,
                                        std::int64_t blackout_end_ns,
                                        double enough) {
  std::int64_t steady = 0;
  for (auto n = Throughput::number_of(blackout_end_ns); n < throughput.end(); ++n) {
    steady = static_cast<double>(throughput.at(n)) >= enough ? steady + 1 : 0;
    if (steady == kSteady) {
      const auto since_ns = (n + 1 - kSteady) * Throughput::kIntervalNs;
      return std::max<std::int64_t>(0, since_ns - blackout_end_ns);
    }
  }
  return std::nullopt;
}

}  // namespace

void Throughput::add(const Throughput& other) {
  for (auto n = std::max(first, other.first); n < std::min(end(), other.end()); ++n) {
    touches[static_cast<std::size_t>(n - first)] += other.at(n);
  }
}

ThroughputFigures figures_of(const Throughput& throughput, const MigrationSpan& span) {
  ThroughputFigures figures;
  const auto began = Throughput::number_of(span.began_ns);
  const auto ended = Throughput::number_of(span.ended_ns);
  const auto median = median_before(throughput, began);
  if (median <= 0) {
    return figures;
  }
  if (span.blackout_end_ns != 0) {
    const auto enough = std::max(1.0, std::min(kRecovered * median, median - 1));
    figures.recovery_ns = recovery_of(throughput, span.blackout_end_ns, enough);
  }
  if (began <= ended && ended < throughput.end()) {
    auto lowest = throughput.at(began);
    for (auto n = began + 1; n <= ended; ++n) {
      lowest = std::min(lowest, throughput.at(n));
    }
    figures.valley = static_cast<double>(lowest) / median;
  }
  return figures;
}

}  // namespace godwit::vmm
