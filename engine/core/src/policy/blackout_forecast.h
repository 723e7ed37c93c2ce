#pragma once

#include <cstdint>
#include <optional>

namespace godwit::engine {

/// What a migration has measured of itself so far. Times in ns; `*_ns` of pages are sums over all
/// lanes, without what --max-bandwidth made them wait: it does not act in a blackout.
struct MoveCosts {
  std::uint64_t data_pages = 0;
  std::int64_t data_ns = 0;
  std::uint64_t zero_pages = 0;
  std::int64_t zero_ns = 0;
  std::uint32_t lanes = 1;
};

/// What a blackout that carries pages would take. Zero pages of earlier rounds say nothing of what
/// is left: pages that are written are rarely zero, so what is left is counted as data.
struct BlackoutForecast {
  std::int64_t pages_ns = 0;
  std::int64_t round_trips_ns = 0;  ///< barrier, READY, and COMMIT: two and a half
  std::int64_t sync_ns = 0;         ///< as long as the last one took
  std::int64_t state_ns = 0;        ///< stopping, saving and loading, by the number of vCPUs
  [[nodiscard]] std::int64_t total_ns() const {
    return pages_ns + round_trips_ns + sync_ns + state_ns;
  }
};

/// Absent while pages are left and none has been moved yet.
std::optional<BlackoutForecast> forecast_blackout(std::uint64_t pending_pages,
                                                  const MoveCosts& costs,
                                                  std::int64_t round_trip_ns,
                                                  std::int64_t sync_ns,
                                                  std::uint32_t vcpus);

}  // namespace godwit::engine
