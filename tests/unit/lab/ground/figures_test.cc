#include "ground/figures.h"

#include <gtest/gtest.h>

namespace godwit::lab {
namespace {

Json good() {
  return parse_json(R"({
    "outcome": "completed", "error": null, "total_ns": 2000000000, "downtime_ns": 1000000,
    "bytes": {"page_payload": 4000000000, "wire": 4100000000},
    "pages": {"sent_twice_after_switch": 0, "resent": 3},
    "faults": {"count": 0, "p50_ns": 0, "p99_ns": 0},
    "floors": {"stream_bytes_per_s": 5000000000},
    "verified": {"pages_expected": 10, "pages_checked": 10, "mismatches": 0, "guest_errors": 0}})");
}

TEST(Figures, RatesAreOverTheWholeMigration) {
  const auto figures = figures_of(good());
  EXPECT_DOUBLE_EQ(figures.at("page_bytes_per_s").get<double>(), 2e9);
  EXPECT_DOUBLE_EQ(figures.at("page_rate_of_stream").get<double>(), 0.4);
  EXPECT_DOUBLE_EQ(figures.at("total_ns").get<double>(), 2e9);
}

TEST(Figures, WhatARunDoesNotHaveIsLeftOut) {
  auto report = good();
  report["floors"] = nullptr;
  const auto figures = figures_of(report);
  EXPECT_FALSE(figures.contains("page_rate_of_stream"));
  EXPECT_FALSE(figures.contains("fault_p50_ns")) << "no fault happened: 0 is not its latency";
  report["faults"]["count"] = 2;
  report["faults"]["p50_ns"] = 7;
  EXPECT_DOUBLE_EQ(figures_of(report).at("fault_p50_ns").get<double>(), 7);
}

TEST(Figures, ATimelineGivesRecoveryAndValley) {
  auto report = good();
  EXPECT_FALSE(figures_of(report).contains("valley"));
  report["valley"] = 0.0;
  report["recovery_ns"] = nullptr;
  EXPECT_DOUBLE_EQ(figures_of(report).at("valley").get<double>(), 0);
  EXPECT_FALSE(figures_of(report).contains("recovery_ns")) << "not reached is no time";
  report["recovery_ns"] = 30'000'000;
  EXPECT_DOUBLE_EQ(figures_of(report).at("recovery_ns").get<double>(), 3e7);
}

TEST(Figures, ARunCountsOnlyWhenVerified) {
  EXPECT_EQ(unverified_reason(0, good()), "");
  EXPECT_NE(unverified_reason(4, good()), "");
  EXPECT_NE(unverified_reason(0, nullptr), "");
  const auto with = [](const char* pointer, const Json& value) {
    auto report = good();
    report[Json::json_pointer(pointer)] = value;
    return unverified_reason(0, report);
  };
  EXPECT_NE(with("/outcome", "failed"), "");
  EXPECT_NE(with("/verified/pages_checked", 9), "");
  EXPECT_NE(with("/verified/mismatches", 1), "");
  EXPECT_NE(with("/verified/guest_errors", 1), "");
  EXPECT_NE(with("/pages/sent_twice_after_switch", 1), "");
  EXPECT_NE(with("/verified", nullptr), "") << "nothing was checked";
}

TEST(Figures, TextScalesToItsUnit) {
  EXPECT_EQ(figure_text(Unit::kNs, 950), "950 ns");
  EXPECT_EQ(figure_text(Unit::kNs, 1.5e6), "1.50 ms");
  EXPECT_EQ(figure_text(Unit::kBytes, 64.0 * 1024 * 1024), "64.00 MiB");
  EXPECT_EQ(figure_text(Unit::kShare, 0.4), "0.400");
}

}  // namespace
}  // namespace godwit::lab
