#pragma once

#include <cstdint>

#include "godwit/base/fd.h"

namespace godwit {

/// How long the calling thread was ready to run and did not: other threads had the processors, or
/// its control group had used up its quota. Thread: the one that made it.
/// Kernel: the second number of /proc/thread-self/schedstat, with CONFIG_SCHED_INFO; where that is
/// missing nothing ever waits.
class RunDelay {
 public:
  RunDelay();
  /// Since the thread began, ns. Cost: one read of a proc file, some microseconds.
  [[nodiscard]] std::int64_t total_ns() const;

 private:
  Fd file_;
};

}  // namespace godwit
