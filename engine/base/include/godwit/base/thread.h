#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <thread>

#include "godwit/base/result.h"

namespace godwit {

/// What a thread is for; decides how it is scheduled when it starts, for life but for take_rank().
/// Source: docs/architecture.md, "Threads".
enum class ThreadRole : std::uint8_t {
  kUrgent = 1,  ///< urgent, fault and control loops: CpuRank::kFirst
  kBulk,        ///< whatever moves pages: CpuRank::kBeside
  kGuest,       ///< vCPUs and workers: policy, priority and nice value of the process's first thread
};

/// Where a thread of ours stands beside the guest and other processes when processors are short.
/// "The start" is the scheduling of the process's first thread, which nobody here changes.
///
/// | rank    | from SCHED_OTHER, BATCH, IDLE           | from SCHED_FIFO, RR of priority p |
/// |---------|-----------------------------------------|-----------------------------------|
/// | kBehind | SCHED_BATCH, 10 nicer than the start    | SCHED_RR, p - 1                   |
/// | kBeside | SCHED_OTHER, as nice as the start       | SCHED_RR, p                       |
/// | kAhead  | SCHED_OTHER, 5 less nice                | SCHED_RR, p + 1                   |
/// | kFirst  | SCHED_OTHER, nice -20                   | SCHED_FIFO, p + 2                 |
///
/// What is not permitted: kAhead stays beside; kFirst asks for the shortest slice instead (since
/// Linux 6.12 a thread that wakes up with a shorter slice goes first), which needs no permission.
/// kBehind is SCHED_BATCH without the nice value where the way back would not be permitted, since a
/// thread that is behind may be needed in a blackout later.
enum class CpuRank : std::uint8_t { kBehind = 1, kBeside, kAhead, kFirst };

/// Starts a named thread (15 characters are shown) that takes its role's scheduling first.
/// A policy that is not permitted is left out; scheduling_degraded() tells.
/// Errors: kIo when the host gives no thread any more (RLIMIT_NPROC, a pids limit).
Result<std::jthread> try_start_thread(std::string name,
                                      ThreadRole role,
                                      std::function<void()> body);

/// As try_start_thread(), where nothing can be done without the thread: throws std::system_error.
std::jthread start_thread(std::string name, ThreadRole role, std::function<void()> body);

/// Changes the calling thread's rank; every rank can be left again.
void take_rank(CpuRank rank);

/// Whether some thread did not get its rank for want of permission.
bool scheduling_degraded();

}  // namespace godwit
