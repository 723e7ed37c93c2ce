#pragma once

#include <cstdint>

#include "godwit/json/json.h"

#include "link/private_network.h"
#include "qemu/doorbells.h"
#include "qemu/qemu_plan.h"
#include "run/side.h"

namespace godwit::lab {

/// A post-copy run with fewer requested pages says nothing of post-copy.
inline constexpr std::uint64_t kPageRequestsMin = 100;

/// What a timeline shows of the time before the migration.
inline constexpr std::int64_t kTimelineLeadNs = 200'000'000;

/// What was seen of one migration by QEMU.
struct QemuCourse {
  Doorbells doorbells;       ///< steps at both ends
  Json answer;               ///< the source's to query-migrate, when all is over
  bool in_postcopy = false;  ///< post-copy has begun
  std::int64_t began_ns = 0;
  std::int64_t total_ns = 0;
  std::int64_t cpu_source_ns = 0;         ///< over the migration
  std::int64_t cpu_target_before_ns = 0;  ///< from the start of its process until the migration
  std::int64_t cpu_target_ns = 0;         ///< the same until the migration's end
};

/// Fills figures and report of a row, and the reason where the migration was not what its mode
/// says.
void note_course(const QemuCourse& course,
                 const QemuPlan& plan,
                 const PeerNetwork& network,
                 PeerRun& run);

/// Figures from the source's answer to query-migrate; empty members are left out.
Json qemu_figures(const Json& query_migrate);

}  // namespace godwit::lab
