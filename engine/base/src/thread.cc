#include "godwit/base/thread.h"

#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <system_error>

namespace godwit {
namespace {

// Written by starting threads, read for the report; no ordering needed beyond the value itself.
std::atomic<bool> degraded{false};  // NOLINT(cppcoreguidelines-avoid-non-const-global-variables)

constexpr int kUrgentNice = -20;
constexpr int kBulkNice = 10;

void set_policy(int policy, int nice) {
  const sched_param param{};
  // On Linux a nice value belongs to the thread: who = 0 is the calling one.
  if (::sched_setscheduler(0, policy, &param) != 0 || ::setpriority(PRIO_PROCESS, 0, nice) != 0) {
    degraded.store(true, std::memory_order_relaxed);
  }
}

}  // namespace

void set_thread_role(ThreadRole role) {
  switch (role) {
    case ThreadRole::kUrgent:
      set_policy(SCHED_OTHER, kUrgentNice);
      break;
    case ThreadRole::kBulk:
      set_policy(SCHED_BATCH, kBulkNice);
      break;
    case ThreadRole::kGuest:
      // A thread inherits its creator's scheduling, and an urgent thread starts the vCPUs: go back
      // to the process's own.
      set_policy(SCHED_OTHER, ::getpriority(PRIO_PROCESS, static_cast<id_t>(::getpid())));
      break;
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
  return std::jthread([name = std::move(name), role, body = std::move(body)] {
    ::pthread_setname_np(::pthread_self(), name.substr(0, 15).c_str());
    set_thread_role(role);
    body();
  });
}

bool scheduling_degraded() {
  return degraded.load(std::memory_order_relaxed);
}

}  // namespace godwit
