#pragma once

#include <cstdint>

#include "godwit/engine/options.h"
#include "godwit/engine/report.h"
#include "godwit/wire/codec.h"

#include "source/plane.h"

namespace godwit::engine {

/// Moments of a migration at the source, CLOCK_MONOTONIC; 0 = not reached.
struct SourceStamps {
  std::int64_t began_ns = 0;
  std::int64_t precopy_began_ns = 0;
  std::int64_t quiesced_ns = 0;
  std::int64_t synced_ns = 0;
  std::int64_t saved_ns = 0;
  std::int64_t committed_ns = 0;
  std::int64_t running_received_ns = 0;
  std::int64_t prealloc_ns = 0;  ///< a duration: how long the target populated its memory
};

/// The report's pages by class. Requires: the urgent loop's figures are in the report, and nobody
/// sends any more.
void fill_pages(MigrationReport& report, SourcePlane& plane);

/// The report's times; of an unfinished migration only what was reached.
void fill_times(MigrationReport& report,
                const SourceStamps& stamps,
                std::int64_t ended_ns,
                const wire::Running& running,
                const SourceOptions& options,
                bool completed);

}  // namespace godwit::engine
