#pragma once

#include <cstdint>
#include <optional>

#include "godwit/base/run_delay.h"
#include "godwit/base/thread.h"

#include "policy/cpu_share.h"

namespace godwit::engine {

/// How a lane, at either side, holds its place among the threads of its host. Thread: the lane's.
class LaneRank {
 public:
  explicit LaneRank(CpuPriority priority) : share_(priority) {}

  /// The guest is stopped, or is about to be: as early as possible.
  void hurry() { take(CpuRank::kFirst); }
  /// The guest runs, here or there. Cheap: looks at the clock, and once in CpuShare::kWindowNs at
  /// the run delay.
  void work(std::int64_t now_ns, bool guest_waits, bool shrinks) {
    if (share_.due(now_ns)) {
      take(share_.on_sample({now_ns, waited_ns(), guest_waits, shrinks}));
    } else {
      take(share_.rank(guest_waits));
    }
  }
  /// For a processor, so far.
  [[nodiscard]] std::int64_t waited_ns() {
    if (!delay_) {
      delay_.emplace();  // here, on the lane's own thread
    }
    return delay_->total_ns();
  }
  [[nodiscard]] bool raised() const { return share_.raised(); }

 private:
  void take(CpuRank rank) {
    if (rank != rank_) {
      rank_ = rank;
      take_rank(rank);
    }
  }

  CpuShare share_;
  CpuRank rank_ = CpuRank::kBeside;  // what a bulk thread begins with
  std::optional<RunDelay> delay_;
};

}  // namespace godwit::engine
