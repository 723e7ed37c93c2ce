#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "godwit/base/names.h"
#include "godwit/base/units.h"

namespace godwit::engine {

enum class Mode : std::uint8_t { kHybrid = 1, kPrecopy = 2, kPostcopy = 3, kStopAndCopy = 4 };
inline constexpr Names kModeNames{std::array{Named{Mode::kHybrid, "hybrid"},
                                             Named{Mode::kPrecopy, "precopy"},
                                             Named{Mode::kPostcopy, "postcopy"},
                                             Named{Mode::kStopAndCopy, "stop-and-copy"}}};
inline const char* mode_name(Mode mode) {
  return kModeNames.name_of(mode);
}

enum class OnNoConvergence : std::uint8_t { kForce = 1, kFail = 2 };

/// Who comes first when processors are short: the guest and other processes, or what moves pages.
enum class CpuPriority : std::uint8_t {
  kAuto = 1,   ///< fair, and more where the migration would not end otherwise
  kGuest = 2,  ///< behind the guest before the switch, fair after it: the guest waits for it then
  kFair = 3,   ///< as any other thread of the process
  kMigration = 4,  ///< ahead of the guest
};
inline constexpr Names kCpuPriorityNames{std::array{Named{CpuPriority::kAuto, "auto"},
                                                    Named{CpuPriority::kGuest, "guest"},
                                                    Named{CpuPriority::kFair, "fair"},
                                                    Named{CpuPriority::kMigration, "migration"}}};

struct SourceOptions {
  Mode mode = Mode::kHybrid;
  std::uint32_t switch_after_rounds = 2;
  std::uint32_t max_rounds = 30;
  std::int64_t downtime_limit_ns = 300'000'000;
  OnNoConvergence on_no_convergence = OnNoConvergence::kForce;
  std::uint64_t max_bandwidth = 0;  ///< bytes/s of pre-copy and background pages; 0 = unlimited
  std::uint32_t channels = 1;       ///< bulk connections, 1 .. wire::kMaxBulkChannels
  bool prealloc = false;
  bool checksum = true;
  CpuPriority cpu_priority = CpuPriority::kAuto;
  std::int64_t timeout_ns = 10'000'000'000;  ///< longest wait without progress before COMMIT
  /// After the decision to commit: how long a lost link is dialled again before the session ends held;
  /// 0: not at all. Both sides must want it.
  std::int64_t recover_for_ns = 0;
  /// After the decision a link that moves nothing for so long counts as lost, if it can be taken up
  /// again.
  std::int64_t stall_ns = 30'000'000'000;
  /// For tests: one of these pages stays stale at the target, since the mark of its last write gets
  /// lost; the guest or its sweep must notice. Empty: none.
  std::vector<PageRun> planted_loss;
};

struct TargetOptions {
  std::int64_t timeout_ns = 10'000'000'000;
  /// After READY a source whose link was lost is waited for, without a limit: the guest depends on it.
  /// Otherwise the session ends held.
  bool recovers = false;
  std::int64_t stall_ns = 30'000'000'000;  ///< as the source's
  CpuPriority cpu_priority = CpuPriority::kAuto;
  std::size_t trace_faults = 0;  ///< faults whose moments are kept, see TargetTrace
};

}  // namespace godwit::engine
