#include "godwit/base/thread.h"

#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <system_error>

namespace godwit {
namespace {

// Written by starting threads, read for the report; no ordering needed beyond the value itself.
std::atomic<bool> degraded{false};  // NOLINT(cppcoreguidelines-avoid-non-const-global-variables)

constexpr int kFirstNice = -20;
constexpr int kBehindNice = 10;
constexpr int kAheadNice = -5;
/// The least that the kernel takes (fair.c clamps to it).
constexpr std::uint64_t kShortestSliceNs = 100'000;

/// struct sched_attr of linux/sched/types.h, its first version: that header and the C library's
/// sched.h cannot be included together.
struct SliceAttributes {
  std::uint32_t size = sizeof(SliceAttributes);
  std::uint32_t policy = SCHED_OTHER;
  std::uint64_t flags = 0;
  std::int32_t nice = 0;
  std::uint32_t priority = 0;
  std::uint64_t runtime_ns = 0;
  std::uint64_t deadline_ns = 0;
  std::uint64_t period_ns = 0;
};
static_assert(sizeof(SliceAttributes) == 48);

struct Scheduling {
  int policy = SCHED_OTHER;
  int priority = 0;  ///< of SCHED_FIFO and SCHED_RR
  int nice = 0;
  [[nodiscard]] bool real_time() const { return policy == SCHED_FIFO || policy == SCHED_RR; }
};

/// Of the process's first thread: its id is the process's.
Scheduling start_of_process() {
  Scheduling start;
  sched_param param{};
  const auto policy = ::sched_getscheduler(::getpid());
  if (policy >= 0 && ::sched_getparam(::getpid(), &param) == 0) {
    start.policy = policy & ~SCHED_RESET_ON_FORK;
    start.priority = param.sched_priority;
  }
  start.nice = ::getpriority(PRIO_PROCESS, static_cast<id_t>(::getpid()));
  return start;
}

const Scheduling& start() {
  static const Scheduling at_start = start_of_process();
  return at_start;
}

bool apply(const Scheduling& wanted) {
  sched_param param{};
  param.sched_priority = wanted.priority;
  // On Linux a nice value belongs to the thread: who = 0 is the calling one.
  return ::sched_setscheduler(0, wanted.policy, &param) == 0 &&
         (wanted.real_time() || ::setpriority(PRIO_PROCESS, 0, wanted.nice) == 0);
}

/// As nice as the start, with a slice of its own; 0 = the kernel's. Kernel: 6.12, before it no slice
/// is taken.
void apply_slice(std::uint64_t slice_ns) {
  SliceAttributes attributes;
  attributes.nice = start().nice;
  attributes.runtime_ns = slice_ns;
  [[maybe_unused]] const auto status = ::syscall(SYS_sched_setattr, 0, &attributes, 0U);
}

/// Whether a nicer thread may become as nice as the start again: CAP_SYS_NICE or RLIMIT_NICE.
/// Tried on a thread of its own.
bool may_come_back() {
  static const bool may = [] {
    bool came_back = false;
    try {
      std::jthread([&came_back] {
        came_back = ::setpriority(PRIO_PROCESS, 0, std::min(start().nice + 1, 19)) == 0 &&
                    ::setpriority(PRIO_PROCESS, 0, start().nice) == 0;
      }).join();
    } catch (const std::system_error&) {
      // No thread, no answer: as if it were not permitted.
    }
    return came_back;
  }();
  return may;
}

bool apply_real_time(CpuRank rank) {
  const auto priority = start().priority;
  const auto at = [](int policy, int wanted) {
    return Scheduling{policy,
                      std::clamp(wanted,
                                 ::sched_get_priority_min(SCHED_RR),
                                 ::sched_get_priority_max(SCHED_RR)),
                      0};
  };
  switch (rank) {
    case CpuRank::kBehind:
      return apply(at(SCHED_RR, priority - 1));
    case CpuRank::kBeside:
      return apply(at(SCHED_RR, priority));
    case CpuRank::kAhead:
      return apply(at(SCHED_RR, priority + 1));
    case CpuRank::kFirst:
      return apply(at(SCHED_FIFO, priority + 2));
  }
  return false;
}

bool apply_rank(CpuRank rank) {
  if (start().real_time()) {
    return apply_real_time(rank);
  }
  const auto nice = start().nice;
  switch (rank) {
    case CpuRank::kBehind:
      return apply({SCHED_BATCH, 0, may_come_back() ? std::min(nice + kBehindNice, 19) : nice});
    case CpuRank::kBeside:
      apply_slice(0);
      return apply({SCHED_OTHER, 0, nice});
    case CpuRank::kAhead:
      return apply({SCHED_OTHER, 0, std::max(nice + kAheadNice, kFirstNice)});
    case CpuRank::kFirst:
      if (apply({SCHED_OTHER, 0, kFirstNice})) {
        return true;
      }
      apply_slice(kShortestSliceNs);
      return false;
  }
  return false;
}

void take_role(ThreadRole role) {
  switch (role) {
    case ThreadRole::kUrgent:
      take_rank(CpuRank::kFirst);
      break;
    case ThreadRole::kBulk:
      take_rank(CpuRank::kBeside);
      break;
    case ThreadRole::kGuest:
      // A thread inherits its creator's scheduling, and an urgent thread starts the vCPUs.
      if (!start().real_time()) {
        apply_slice(0);
      }
      if (!apply(start())) {
        degraded.store(true, std::memory_order_relaxed);
      }
      break;
  }
}

}  // namespace

void take_rank(CpuRank rank) {
  if (!apply_rank(rank)) {
    degraded.store(true, std::memory_order_relaxed);
  }
}

Result<std::jthread> try_start_thread(std::string name,
                                      ThreadRole role,
                                      std::function<void()> body) {
  // The library's one exception: it has no other way to say that a thread cannot be made.
  try {
    return start_thread(std::move(name), role, std::move(body));
  } catch (const std::system_error& error) {
    return fail_errno(error.code().value(),
                      "start a thread",
                      "no thread can be made; raise ulimit -u or the pids limit");
  }
}

std::jthread start_thread(std::string name, ThreadRole role, std::function<void()> body) {
  // The first thread's scheduling is read before anybody could change it.
  start();
  return std::jthread([name = std::move(name), role, body = std::move(body)] {
    ::pthread_setname_np(::pthread_self(), name.substr(0, 15).c_str());
    take_role(role);
    body();
  });
}

bool scheduling_degraded() {
  return degraded.load(std::memory_order_relaxed);
}

}  // namespace godwit
