#pragma once

#include <cstdint>
#include <vector>

#include "godwit/engine/report.h"
#include "godwit/engine/trace.h"
#include "godwit/json/json.h"

// A migration's trace as Chrome trace JSON, which Perfetto and other viewers open: an object
// with "traceEvents", and in "otherData" what each side says of itself. Process 1 is the source,
// process 2 the target. "ts" is in microseconds of CLOCK_MONOTONIC, with fractions. Slices of one
// track follow or contain each other, and their events come in the order in which viewers take
// them: "B" and "E" of one track, by time.

namespace godwit::app {

/// Faults whose slices are kept, the first ones of a migration.
inline constexpr std::size_t kTraceFaults = 20'000;
/// Rounds whose slices are kept, the first ones.
inline constexpr std::size_t kTraceRounds = 20'000;

/// The source's progress at one moment.
struct ProgressSample {
  std::int64_t at_ns = 0;  ///< CLOCK_MONOTONIC
  std::uint64_t sent_bytes = 0;
  std::uint64_t remaining_pages = 0;
};

/// Samples of a migration of any length in bounded memory: when there are too many, every second
/// one goes and the next are taken half as often. Thread: one.
class ProgressSamples {
 public:
  /// Takes the sample if it is due.
  void add(const ProgressSample& sample);
  [[nodiscard]] const std::vector<ProgressSample>& taken() const { return taken_; }

  static constexpr std::size_t kMost = 4096;

 private:
  std::vector<ProgressSample> taken_;
  std::uint64_t every_ = 1;  ///< one in so many that are offered
  std::uint64_t offered_ = 0;
};

/// The source's trace. Requires: the session has ended.
Json source_trace_json(const engine::MigrationReport& report,
                       const std::vector<ProgressSample>& samples);

/// The target's trace, on the target's clock. Requires: the session has ended.
Json target_trace_json(const engine::TargetTrace& trace);

/// Both in one, on the source's clock: the target's events are moved by what the source knows of
/// the target's clock. Either may be empty.
Json merge_traces(Json source, const Json& target);

}  // namespace godwit::app
