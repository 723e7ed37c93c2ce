#include "source/figures.h"

#include <algorithm>
#include <bit>

#include "godwit/base/clock.h"

namespace godwit::engine {
namespace {

/// How much of `rest` took `ns`, which a peer says.
std::int64_t part_of(std::int64_t rest, std::uint64_t ns) {
  return std::min(rest, static_cast<std::int64_t>(std::min<std::uint64_t>(ns, INT64_MAX)));
}

/// Between two hosts: the target told its vCPUs to run between COMMIT and RUNNING, by our clock.
TraceClock target_clock(const MigrationReport& report, const SourceStamps& stamps, bool one_boot) {
  if (one_boot) {
    return {.known = true};
  }
  const auto between = stamps.running_received_ns - stamps.committed_ns;
  if (report.target.run_ended_ns == 0 || stamps.committed_ns == 0 || between < 0) {
    return {};
  }
  return {.known = true,
          .ahead_ns = report.target.run_ended_ns - (stamps.committed_ns + between / 2),
          .error_ns = between - between / 2};
}

}  // namespace

void fill_pages(MigrationReport& report, SourcePlane& plane) {
  const auto& sent = plane.counters;
  const auto unique_pages = plane.ledger.unique_pages();
  const auto value = [](const std::atomic<std::uint64_t>& counter) {
    return counter.load(std::memory_order_relaxed);
  };
  report.payload_bytes += value(sent.payload_bytes);
  report.pages_sent_twice = value(sent.sent_twice_pages);
  report.pages_populated = unique_pages;
  report.pages_background = value(sent.background_pages);
  report.pages_prefetched = value(sent.prefetched_pages);
  const auto copies =
      value(sent.precopy_pages) + value(sent.background_pages) + report.pages_demand;
  const auto unique = std::min(copies, unique_pages);
  report.pages_resent = copies - unique;
  std::uint64_t zero = 0;
  for (RegionIndex region = 0; region < plane.sent_as_zero.size(); ++region) {
    // Not harvested: a session that was held may go on and fill its report once more.
    const auto& map = plane.sent_as_zero[region];
    for (auto word = map.next_word(0); word < map.word_count(); word = map.next_word(word + 1)) {
      zero += static_cast<unsigned>(std::popcount(map.word(word)));
    }
  }
  report.pages_zero = std::min(zero, unique);
  report.pages_sent = unique - report.pages_zero;
}

void fill_times(MigrationReport& report,
                const SourceStamps& stamps,
                std::int64_t ended_ns,
                const wire::Running& running,
                const SourceOptions& options,
                bool completed) {
  report.trace.began_ns = stamps.began_ns;
  report.trace.precopy_began_ns = stamps.precopy_began_ns;
  report.trace.ended_ns = ended_ns;
  report.total_ns = ended_ns - stamps.began_ns - stamps.prealloc_ns;
  report.setup_ns = (stamps.precopy_began_ns != 0 ? stamps.precopy_began_ns : ended_ns) -
                    stamps.began_ns - stamps.prealloc_ns;
  if (!completed) {
    report.precopy_ns = report.total_ns - report.setup_ns;
    return;
  }
  const auto stop = report.stopped.last_ns;
  const bool one_boot = report.target.boot_id == boot_id();
  const bool one_clock = one_boot && report.target.first_run_ns > stop;
  report.trace.target_clock = target_clock(report, stamps, one_boot);
  report.downtime_ns = (one_clock ? report.target.first_run_ns : stamps.running_received_ns) - stop;
  report.precopy_ns = stop - stamps.precopy_began_ns;
  report.postcopy_ns = report.total_ns - report.setup_ns - report.precopy_ns - report.downtime_ns;
  auto& parts = report.parts;
  parts.quiesce = stamps.quiesced_ns - stop;
  parts.final_sync = stamps.synced_ns - stamps.quiesced_ns;
  parts.state_save = stamps.saved_ns - stamps.synced_ns;
  const auto rest = report.downtime_ns - (stamps.saved_ns - stop);
  parts.state_load = part_of(rest, running.load_ns);
  parts.resume = part_of(rest - parts.state_load, running.resume_ns);
  parts.state_transfer = rest - parts.state_load - parts.resume;
  if (options.mode == Mode::kPrecopy) {
    report.downtime_limit_met = report.downtime_ns <= options.downtime_limit_ns;
  }
}

}  // namespace godwit::engine
