#pragma once

#include <functional>

#include "godwit/base/clock.h"
#include "godwit/base/result.h"

namespace godwit {

/// A set of descriptors that one thread waits on, so that adapters that know nothing of each other
/// (a ring of sockets, a userfaultfd) share one loop and no hop between threads lies on the urgent
/// path. Thread: every call from the owning thread, except EventLoop::wake().
class PollSet {
 public:
  virtual ~PollSet() = default;
  /// Calls `on_readable` from run_once() whenever `fd` is readable (level-triggered), until
  /// unwatch().
  virtual Status watch(int fd, std::function<void()> on_readable) = 0;
  virtual void unwatch(int fd) = 0;
};

/// A PollSet that can be run.
class EventLoop : public PollSet {
 public:
  /// Waits until something is ready or `deadline` passes and runs the callbacks that are due
  /// (perhaps none). A deadline in the past polls. Errors: only of the waiting itself.
  virtual Status run_once(Deadline deadline) = 0;
  /// Makes a present or the next run_once() return. Thread: any.
  virtual void wake() = 0;
};

}  // namespace godwit
