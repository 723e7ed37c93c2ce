#include "link/figures_codec.h"

#include <gtest/gtest.h>

namespace godwit::engine {
namespace {

TargetFigures some() {
  TargetFigures figures;
  for (const std::uint64_t ns : {0ULL, 17ULL, 17ULL, 90'000ULL, 5'000'000'000ULL}) {
    figures.faults.record(ns);
  }
  figures.installed = 12;
  figures.scheduling_degraded = true;
  figures.retracted = 9;
  figures.retracted_at_switch = 4;
  figures.cpu_ns = 1'000;
  figures.first_run_ns = 77;
  figures.run_ended_ns = 66;
  figures.boot_id = "a boot";
  return figures;
}

TEST(FiguresCodec, FiguresArriveAsTheyWere) {
  const auto sent = some();
  const auto decoded = wire::decode_complete(wire::encode(to_wire(sent)));
  ASSERT_TRUE(decoded) << decoded.error().message();
  TargetFigures got;
  take_figures(*decoded, got);
  EXPECT_EQ(got.faults.buckets(), sent.faults.buckets());
  EXPECT_EQ(got.faults.count(), 5U);
  EXPECT_EQ(got.faults.max(), sent.faults.max());
  EXPECT_EQ(got.faults.quantile(0.5), sent.faults.quantile(0.5));
  EXPECT_EQ(got.installed, sent.installed);
  EXPECT_EQ(got.scheduling_degraded, sent.scheduling_degraded);
  EXPECT_EQ(got.retracted, sent.retracted);
  EXPECT_EQ(got.retracted_at_switch, sent.retracted_at_switch);
  EXPECT_EQ(got.cpu_ns, sent.cpu_ns);
  EXPECT_EQ(got.first_run_ns, sent.first_run_ns);
  EXPECT_EQ(got.run_ended_ns, sent.run_ended_ns);
  EXPECT_EQ(got.boot_id, sent.boot_id);
}

TEST(FiguresCodec, WhatCameWithAcceptStays) {
  TargetFigures figures;
  figures.placement = "alias";
  figures.prealloc_ns = 5;
  figures.faults.record(3);
  take_figures({}, figures);
  EXPECT_EQ(figures.placement, "alias");
  EXPECT_EQ(figures.prealloc_ns, 5);
  EXPECT_EQ(figures.faults.count(), 0U);
}

// The largest values that a peer can send: what the source adds up stays in range.
TEST(FiguresCodec, SumsOfHostileValuesStayInRange) {
  wire::Complete hostile;
  hostile.cpu_ns = hostile.first_run_ns = hostile.run_ended_ns = UINT64_MAX;
  hostile.fault_max_ns = UINT64_MAX;
  for (std::uint32_t number = 0; number < wire::kMaxFaultBuckets; ++number) {
    hostile.fault_buckets.push_back({number, UINT64_MAX});
  }
  TargetFigures figures;
  take_figures(hostile, figures);
  for (const auto time : {figures.cpu_ns, figures.first_run_ns, figures.run_ended_ns}) {
    EXPECT_GT(time, 0);
    EXPECT_LE(time, INT64_MAX / 16);
  }
  EXPECT_LE(figures.faults.max(), static_cast<std::uint64_t>(INT64_MAX / 16));
  std::uint64_t sum = 0;
  for (const auto& [number, count] : figures.faults.buckets()) {
    ASSERT_LE(count, UINT64_MAX - sum) << "the counts run over";
    sum += count;
  }
  EXPECT_EQ(figures.faults.count(), sum);
  EXPECT_LE(figures.faults.quantile(1.0), figures.faults.max());
}

}  // namespace
}  // namespace godwit::engine
