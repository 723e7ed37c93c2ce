#include "link/figures_codec.h"

#include <algorithm>
#include <cstdint>

namespace godwit::engine {
namespace {

static_assert(wire::kMaxFaultBuckets == Histogram::kBuckets,
              "every bucket has a place in COMPLETE");

constexpr std::uint64_t kTimeMaxNs = INT64_MAX / 16;
constexpr std::uint64_t kCountMax = UINT64_MAX / wire::kMaxFaultBuckets;

std::int64_t time_of(std::uint64_t ns) {
  return static_cast<std::int64_t>(std::min(ns, kTimeMaxNs));
}

}  // namespace

wire::Complete to_wire(const TargetFigures& figures) {
  wire::Complete message;
  message.scheduling_degraded = figures.scheduling_degraded;
  message.installed = figures.installed;
  message.retracted = figures.retracted;
  message.retracted_at_switch = figures.retracted_at_switch;
  message.cpu_ns = static_cast<std::uint64_t>(figures.cpu_ns);
  message.first_run_ns = static_cast<std::uint64_t>(figures.first_run_ns);
  message.run_ended_ns = static_cast<std::uint64_t>(figures.run_ended_ns);
  message.fault_max_ns = figures.faults.max();
  message.boot_id = figures.boot_id;
  for (const auto& [number, count] : figures.faults.buckets()) {
    message.fault_buckets.push_back({number, count});
  }
  return message;
}

void take_figures(const wire::Complete& message, TargetFigures& figures) {
  figures.scheduling_degraded = message.scheduling_degraded;
  figures.installed = message.installed;
  figures.retracted = message.retracted;
  figures.retracted_at_switch = message.retracted_at_switch;
  figures.cpu_ns = time_of(message.cpu_ns);
  figures.first_run_ns = time_of(message.first_run_ns);
  figures.run_ended_ns = time_of(message.run_ended_ns);
  figures.boot_id = message.boot_id;
  figures.faults = {};
  for (const auto& bucket : message.fault_buckets) {
    figures.faults.add_bucket(bucket.number, std::min(bucket.count, kCountMax));
  }
  figures.faults.raise_max(std::min(message.fault_max_ns, kTimeMaxNs));
}

}  // namespace godwit::engine
