#pragma once

#include <functional>
#include <memory>
#include <unordered_map>

#include "godwit/base/event_loop.h"
#include "godwit/base/fd.h"

namespace godwit::net {

class Ring;
class WatchOp;

/// How a ring is set up. kAuto takes what the kernel offers best; kPlain is what the oldest one
/// offers.
enum class RingMode { kAuto, kPlain };

/// An event loop over one io_uring: sockets and watched descriptors share one wait and one system
/// call an iteration. Thread: the first run_once() makes its caller the owner; every later call but
/// wake() comes from it. Before the first run_once() and after the owner has ended, any one thread
/// may watch, unwatch and destroy. Guarantees: callbacks may watch, unwatch and destroy channels of
/// this loop, their own included. Kernel: 5.11; with 6.1 completions are delivered only inside
/// run_once() (DEFER_TASKRUN), so the owner is never interrupted while it copies pages.
class RingLoop final : public EventLoop {
 public:
  /// Errors: kUnsupported or kPermission when io_uring is missing or disabled, as probe_uring().
  static Result<std::unique_ptr<RingLoop>> create(RingMode mode = RingMode::kAuto);
  /// Guarantees: on the owner's thread nothing is in flight afterwards. Channels may outlive the
  /// loop; they are dead.
  ~RingLoop() override;
  RingLoop(const RingLoop&) = delete;
  RingLoop& operator=(const RingLoop&) = delete;

  /// Errors: kState when `fd` is watched already. A descriptor that cannot be polled fails the next
  /// run_once().
  Status watch(int fd, std::function<void()> on_readable) override;
  /// Guarantees: the kernel holds no reference to `fd` on return (from the owner's thread), so
  /// closing it takes effect. Cost: one system call when the poll is armed.
  void unwatch(int fd) override;
  /// Errors: kState from a callback or from a second thread; kIo of the waiting.
  Status run_once(Deadline deadline) override;
  void wake() override;

  /// For the channels of net/ only.
  [[nodiscard]] const std::shared_ptr<Ring>& ring() const { return ring_; }

 private:
  RingLoop(std::shared_ptr<Ring> ring, EventFd wake);

  EventFd wake_;
  std::shared_ptr<Ring> ring_;
  std::unordered_map<int, std::shared_ptr<WatchOp>> watches_;
};

/// Whether this process can use io_uring as the loop needs it.
/// Errors: kUnsupported (no io_uring in the kernel, hidden by a filter, or an operation is
/// missing), kPermission (kernel.io_uring_disabled, a filter).
Status probe_uring();

}  // namespace godwit::net
