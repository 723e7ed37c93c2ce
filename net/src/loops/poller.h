#pragma once

#include <poll.h>

#include <memory>
#include <vector>

#include "godwit/base/clock.h"
#include "godwit/base/result.h"

#include "loops/owner_thread.h"

namespace godwit::net {

/// Something that a poll loop waits for.
class PollSource {
 public:
  PollSource() = default;
  PollSource(const PollSource&) = delete;
  PollSource& operator=(const PollSource&) = delete;
  virtual ~PollSource() = default;
  /// Negative: nothing to wait for now.
  [[nodiscard]] virtual int poll_fd() const = 0;
  /// Which of poll(2)'s events; those that poll() reports unasked come as well.
  [[nodiscard]] virtual short wanted() const = 0;
  /// `events` are there. May add and remove any source, this one included.
  virtual void ready(short events) = 0;
  /// Poller::make_due() was called: does what need not wait.
  virtual void due() {}

 private:
  friend class Poller;
  bool added_ = false;
  bool due_ = false;
};

/// What a poll loop waits for, and who keeps what alive for it.
///
/// ppoll() and not epoll: a loop has a handful of descriptors (a connection or two, a userfaultfd,
/// the wake-up), so handing all of them over costs less than a system call for every time that a
/// send must wait for room. Nothing is registered in the kernel, so nothing stale can fire: epoll
/// goes on reporting a closed descriptor while its file is open elsewhere, in a child process for
/// instance. And the timeout is in nanoseconds.
///
/// As with a ring, what is started is done in the next run_once(), so that callbacks never come
/// from inside the caller's own call: sends that are due are tried first, and when there were any,
/// the sockets are looked at without waiting.
class Poller {
 public:
  /// `source` lives until it is removed, and if that happens in a callback, until run_once() ends.
  void add(std::shared_ptr<PollSource> source);
  /// Guarantees: no call to `source` follows.
  void remove(PollSource& source);
  /// Has PollSource::due() called in the next run_once(), before it waits. Requires: added.
  void make_due(PollSource& source);
  /// Makes the present run_once() fail with `error` after its dispatch.
  void report(Error error);

  Status run_once(Deadline deadline);
  /// Lets all sources go. Idempotent.
  void close();
  [[nodiscard]] bool closed() const { return closed_; }

 private:
  bool run_due();
  Status wait_and_dispatch(Deadline deadline);

  OwnerThread owner_;
  bool closed_ = false;
  bool running_ = false;
  std::vector<std::shared_ptr<PollSource>> sources_;
  std::vector<std::shared_ptr<PollSource>> removed_;  ///< kept until run_once() ends
  std::vector<PollSource*> due_;
  // One iteration's; members, so that their memory is kept.
  std::vector<PollSource*> due_now_;
  std::vector<PollSource*> polled_;
  std::vector<pollfd> fds_;
  Status reported_;
};

}  // namespace godwit::net
