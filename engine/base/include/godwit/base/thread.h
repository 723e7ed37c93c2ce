#pragma once

#include <functional>
#include <string>
#include <thread>

#include "godwit/base/result.h"

namespace godwit {

/// What a thread is for; decides its scheduling. Source: docs/architecture.md, "Threads".
enum class ThreadRole {
  kUrgent,  ///< urgent, fault and control loops: nice -20 where permitted
  kBulk,    ///< bulk streams and migration thread: SCHED_BATCH, nice 10
  kGuest,   ///< vCPUs and workers: as the process was started
};

/// Starts a named thread (15 characters are shown) that takes its role's scheduling first.
/// A policy that is not permitted is left out; scheduling_degraded() tells.
/// Errors: kIo when the host gives no thread any more (RLIMIT_NPROC, a pids limit).
Result<std::jthread> try_start_thread(std::string name,
                                      ThreadRole role,
                                      std::function<void()> body);

/// As try_start_thread(), where nothing can be done without the thread: throws std::system_error.
std::jthread start_thread(std::string name, ThreadRole role, std::function<void()> body);

/// Changes the calling thread's scheduling to another role's (the migration thread turns urgent for
/// the blackout).
void set_thread_role(ThreadRole role);

/// Whether some thread did not get its role's scheduling for want of permission.
bool scheduling_degraded();

}  // namespace godwit
