#pragma once

#include <liburing.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <unordered_map>
#include <vector>

#include "godwit/base/clock.h"
#include "godwit/base/result.h"
#include "godwit/net/ring_loop.h"

#include "loops/owner_thread.h"

namespace godwit::net {

class Ring;

/// One operation that can be given to the kernel again and again, at most once at a time.
class RingOp {
 public:
  RingOp() = default;
  RingOp(const RingOp&) = delete;
  RingOp& operator=(const RingOp&) = delete;
  virtual ~RingOp() = default;
  /// Fills the submission. What it points to stays valid until complete() or Ring::release().
  virtual void prepare(io_uring_sqe& entry) = 0;
  /// `result` as the system call would return it, or -errno. May start or release any operation,
  /// this one included.
  virtual void complete(int result) = 0;

 private:
  friend class Ring;
  enum class State : std::uint8_t { kIdle, kQueued, kInFlight, kReaped };
  State state_ = State::kIdle;
  bool orphan_ = false;  ///< released from a foreign thread: its completion only frees it
  int result_ = 0;
};

/// The io_uring behind a loop, and who keeps what alive for it.
///
/// Starting an operation only queues it here; the kernel sees it in the next run_once(), together
/// with the wait. That costs one system call an iteration, lets a ring be filled before its owner
/// thread exists, and means that an operation that was never submitted is released without asking
/// the kernel.
///
/// The kernel writes into memory that callers free. release() therefore cancels and waits, on the
/// owner's thread. The completions of others that arrive meanwhile are kept in order in
/// `completed_`, so that nothing is dispatched from inside a destructor. From a foreign thread the
/// kernel refuses (the ring has a single issuer); that is legal only when the owner no longer runs,
/// and then nothing writes: completions of a deferred ring happen in the owner's own system calls,
/// and the next of those, if any, submits the cancellation before it runs them.
class Ring {
 public:
  static Result<std::shared_ptr<Ring>> create(RingMode mode);
  ~Ring();
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;

  /// Errors: kUnsupported naming what this kernel's io_uring lacks.
  Status check_operations();

  /// Makes `op` known; `keep` lives until it is released and no completion can arrive any more.
  void add(RingOp& op, std::shared_ptr<void> keep);
  /// Requires: added, not under way.
  void start(RingOp& op);
  /// Forgets `op`: no complete() follows, and on the owner's thread the kernel has let go of its
  /// memory on return.
  void release(RingOp& op);
  /// Makes the present run_once() fail with `error` after its dispatch.
  void report(Error error);

  Status run_once(Deadline deadline);
  /// Cancels everything and gives the ring back. Idempotent.
  void close();
  [[nodiscard]] bool closed() const { return closed_; }

 private:
  Ring() = default;
  Status bind_owner();
  io_uring_sqe* next_entry();
  void queue_cancel(RingOp& op);
  Status fill();
  Status enter(Deadline deadline);
  void reap();
  void dispatch();
  bool cancel_and_wait(RingOp& op);

  io_uring ring_{};
  bool open_ = false;
  bool disabled_ = false;  ///< created with R_DISABLED, not yet enabled
  bool closed_ = false;
  bool running_ = false;
  OwnerThread owner_;
  std::unordered_map<RingOp*, std::shared_ptr<void>> ops_;
  std::vector<RingOp*> ready_;
  std::vector<RingOp*> cancels_;
  std::deque<RingOp*> completed_;
  Status reported_;
};

}  // namespace godwit::net
