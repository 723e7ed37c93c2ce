#include "policy/blackout_forecast.h"

#include <gtest/gtest.h>

namespace godwit::engine {
namespace {

constexpr std::int64_t kMs = 1'000'000;

TEST(BlackoutForecast, NothingIsKnownBeforeAPageWasMoved) {
  EXPECT_FALSE(forecast_blackout(1, {}, kMs, kMs, 1));
  EXPECT_TRUE(forecast_blackout(0, {}, kMs, kMs, 1));
}

TEST(BlackoutForecast, CountsWhatIsLeftAsDataHoweverManyZeroPagesWereMoved) {
  const MoveCosts costs{.data_pages = 1000,
                        .data_ns = 1000 * 2'000,
                        .zero_pages = 1'000'000,
                        .zero_ns = 1'000'000 * 300};
  EXPECT_EQ(forecast_blackout(935, costs, 0, 0, 1)->pages_ns, 935 * 2'000);
}

TEST(BlackoutForecast, TakesAllPagesTogetherWhereFewCarriedData) {
  const MoveCosts costs{.data_pages = 10, .data_ns = 10 * 9'000, .zero_pages = 990, .zero_ns = 0};
  EXPECT_EQ(forecast_blackout(100, costs, 0, 0, 1)->pages_ns, 100 * 90);
}

TEST(BlackoutForecast, LanesShareThePages) {
  MoveCosts costs{.data_pages = 1000, .data_ns = 1000 * 2'000};
  const auto one = forecast_blackout(1000, costs, 0, 0, 1)->pages_ns;
  costs.lanes = 2;
  EXPECT_EQ(forecast_blackout(1000, costs, 0, 0, 1)->pages_ns, one / 2);
}

TEST(BlackoutForecast, AddsRoundTripsSyncAndState) {
  const MoveCosts costs{.data_pages = 1000, .data_ns = 1000};
  const auto forecast = *forecast_blackout(0, costs, 100 * kMs, 7 * kMs, 4);
  EXPECT_EQ(forecast.round_trips_ns, 250 * kMs);
  EXPECT_EQ(forecast.sync_ns, 7 * kMs);
  EXPECT_EQ(forecast.total_ns(), 257 * kMs + forecast.state_ns);
  EXPECT_GT(forecast.state_ns, forecast_blackout(0, costs, 0, 0, 1)->state_ns) << "more vCPUs";
}

}  // namespace
}  // namespace godwit::engine
