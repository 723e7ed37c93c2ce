#include "policy/blackout_forecast.h"

#include <algorithm>

namespace godwit::engine {
namespace {

/// Fewer than these say nothing of what a data page costs: a megabyte.
constexpr std::uint64_t kTellingPages = 256;
/// Measured on a quiet machine (docs/performance.md): a blackout of 0.3 ms with one vCPU, whose
/// state takes some 60 us to save and as much to load.
constexpr std::int64_t kStateNs = 300'000;
constexpr std::int64_t kStateOfVcpuNs = 120'000;

/// Of one page in one lane; absent: none was moved.
std::optional<double> page_ns(const MoveCosts& costs) {
  const auto per_page = [](std::int64_t ns, std::uint64_t pages) {
    return static_cast<double>(ns) / static_cast<double>(pages);
  };
  const auto all = costs.data_pages + costs.zero_pages;
  if (all == 0) {
    return std::nullopt;
  }
  if (costs.data_pages >= kTellingPages) {
    return per_page(costs.data_ns, costs.data_pages);
  }
  return per_page(costs.data_ns + costs.zero_ns, all);
}

}  // namespace

std::optional<BlackoutForecast> forecast_blackout(std::uint64_t pending_pages,
                                                  const MoveCosts& costs,
                                                  std::int64_t round_trip_ns,
                                                  std::int64_t sync_ns,
                                                  std::uint32_t vcpus) {
  const auto page = page_ns(costs);
  if (pending_pages != 0 && !page) {
    return std::nullopt;
  }
  BlackoutForecast forecast;
  forecast.pages_ns = static_cast<std::int64_t>(static_cast<double>(pending_pages) *
                                                page.value_or(0) / std::max(1U, costs.lanes));
  forecast.round_trips_ns = round_trip_ns * 5 / 2;
  forecast.sync_ns = sync_ns;
  forecast.state_ns = kStateNs + kStateOfVcpuNs * static_cast<std::int64_t>(vcpus);
  return forecast;
}

}  // namespace godwit::engine
