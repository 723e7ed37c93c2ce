#include "godwit/base/thread.h"

#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdlib>
#include <optional>

#include <gtest/gtest.h>

#include "godwit/base/run_delay.h"

#include "support/require.h"

namespace godwit {
namespace {

struct Seen {
  int policy = -1, priority = -1, nice = 99;
  bool operator==(const Seen&) const = default;
};

Seen seen_here() {
  Seen seen;
  sched_param param{};
  seen.policy = ::sched_getscheduler(0);
  ::sched_getparam(0, &param);
  seen.priority = param.sched_priority;
  seen.nice = ::getpriority(PRIO_PROCESS, 0);
  return seen;
}

Seen seen_in(ThreadRole role, std::optional<CpuRank> rank = {}) {
  Seen seen;
  start_thread("test", role, [&] {
    if (rank) {
      take_rank(*rank);
    }
    seen = seen_here();
  }).join();
  return seen;
}

/// Ends the process, with 0 where all of it holds: the first thread's scheduling is read once a
/// process, so each case needs one of its own.
[[noreturn]] void leave(bool holds) {
  std::_Exit(holds ? 0 : 1);
}

class Thread : public testing::Test {
 protected:
  Thread() { testing::FLAGS_gtest_death_test_style = "threadsafe"; }
};

bool may_have_priority() {
  sched_param param{};
  param.sched_priority = 1;
  const bool may = ::sched_setscheduler(0, SCHED_FIFO, &param) == 0;
  param.sched_priority = 0;
  ::sched_setscheduler(0, SCHED_OTHER, &param);
  return may;
}

TEST_F(Thread, AGuestKeepsWhatTheProcessWasStartedWith) {
  if (!may_have_priority()) {
    GODWIT_MISSING("surroundings", "priorities are not permitted here");
  }
  EXPECT_EXIT(
      {
        sched_param param{};
        param.sched_priority = 10;
        ::sched_setscheduler(0, SCHED_FIFO, &param);
        Seen of_urgent;
        Seen of_guest;
        start_thread("urgent", ThreadRole::kUrgent, [&] {
          of_urgent = seen_here();
          of_guest = seen_in(ThreadRole::kGuest);
        }).join();
        leave(of_guest == Seen{SCHED_FIFO, 10, 0} && of_urgent == Seen{SCHED_FIFO, 12, 0} &&
              seen_in(ThreadRole::kBulk) == Seen{SCHED_RR, 10, 0});
      },
      testing::ExitedWithCode(0),
      "");
  EXPECT_EXIT(
      {
        ::setpriority(PRIO_PROCESS, 0, 5);
        Seen of_guest;
        start_thread("urgent", ThreadRole::kUrgent, [&] {
          of_guest = seen_in(ThreadRole::kGuest);
        }).join();
        leave(of_guest == Seen{SCHED_OTHER, 0, 5} &&
              seen_in(ThreadRole::kUrgent) == Seen{SCHED_OTHER, 0, -20} &&
              seen_in(ThreadRole::kBulk) == Seen{SCHED_OTHER, 0, 5} &&
              seen_in(ThreadRole::kBulk, CpuRank::kBehind) == Seen{SCHED_BATCH, 0, 15} &&
              seen_in(ThreadRole::kBulk, CpuRank::kAhead) == Seen{SCHED_OTHER, 0, 0});
      },
      testing::ExitedWithCode(0),
      "");
}

TEST_F(Thread, AnOrdinaryUsersThreadNeverGoesWhereItCannotLeave) {
  EXPECT_EXIT(
      {
        constexpr ::uid_t kNobody = 65534;
        const bool ordinary = ::geteuid() != 0 || ::setresuid(kNobody, kNobody, kNobody) == 0;
        Seen came_back;
        start_thread("bulk", ThreadRole::kBulk, [&] {
          take_rank(CpuRank::kBehind);
          take_rank(CpuRank::kFirst);
          take_rank(CpuRank::kBeside);
          came_back = seen_here();
        }).join();
        leave(ordinary && came_back == Seen{SCHED_OTHER, 0, 0} && scheduling_degraded());
      },
      testing::ExitedWithCode(0),
      "");
}

TEST_F(Thread, WaitingForAProcessorIsSeen) {
  // Two threads on one processor: each waits while the other runs.
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(static_cast<unsigned>(::sched_getcpu()), &one);
  constexpr std::int64_t kWorkNs = 100'000'000;
  const auto busy = [&](std::int64_t& waited) {
    ::sched_setaffinity(0, sizeof one, &one);
    const RunDelay delay;
    const auto before = delay.total_ns();
    timespec used{};
    do {
      ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    } while (used.tv_sec * 1'000'000'000 + used.tv_nsec < kWorkNs);
    waited = delay.total_ns() - before;
  };
  std::int64_t first = 0;
  std::int64_t second = 0;
  {
    const auto a = start_thread("a", ThreadRole::kBulk, [&] { busy(first); });
    const auto b = start_thread("b", ThreadRole::kBulk, [&] { busy(second); });
  }
  EXPECT_GT(first + second, kWorkNs / 2);
}

}  // namespace
}  // namespace godwit
