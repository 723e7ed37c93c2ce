#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "page/chart.h"
#include "rows/run_groups.h"

namespace godwit::lab {

/// One colour and shape for each name, the same in every plot of a page.
class Palette {
 public:
  std::size_t style(const std::string& name) {
    return styles_.try_emplace(name, styles_.size()).first->second;
  }

 private:
  std::map<std::string, std::size_t> styles_;
};

// Each makes one plot of a report; nothing when the runs have nothing to show in it.

/// Downtime against total time: a mark for each run, and above it, hollow, the gap that its guest
/// saw.
std::optional<Chart> downtime_chart(std::span<const RunGroup> groups,
                                    const std::string& id,
                                    Palette& palette);

/// Which of a report's latencies.
enum class Faults : std::uint8_t { kEngine = 1, kGuest };

/// How many of the faults took how long at most. From `buckets` where every run of a group has
/// them, else from the quantiles of the reports (and the chart says so).
std::optional<Chart> fault_chart(std::span<const RunGroup> groups,
                                 Faults which,
                                 const std::string& id,
                                 Palette& palette);

/// Bytes that the guest touched a second, through the typical run of a group, phases shaded.
std::optional<Chart> throughput_chart(const RunGroup& group,
                                      const std::string& id,
                                      Palette& palette);

/// Pages sent and written again in each pre-copy round of the typical run of each group.
std::optional<Chart> rounds_chart(std::span<const RunGroup> groups,
                                  const std::string& id,
                                  Palette& palette);

/// Medians over one option, for runs that differ in nothing else: total, downtime and guest gap.
struct ScalingCharts {
  Chart total;
  Chart downtime;
};
/// `option`: "memory" or "rate". Nothing when no two groups differ in it alone.
std::optional<ScalingCharts> scaling_charts(std::span<const RunGroup> groups,
                                            const std::string& option,
                                            const std::string& id,
                                            Palette& palette);

/// Median fault latency over the round trip of an emulated link, for runs that differ in its delay
/// alone, beside what it would be if a fault cost one round trip.
std::optional<Chart> round_trip_chart(std::span<const RunGroup> groups,
                                      const std::string& id,
                                      Palette& palette);

}  // namespace godwit::lab
