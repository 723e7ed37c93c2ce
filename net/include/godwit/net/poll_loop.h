#pragma once

#include <functional>
#include <memory>
#include <unordered_map>

#include "godwit/base/event_loop.h"
#include "godwit/base/fd.h"

namespace godwit::net {

class Poller;
class PollWatch;

/// An event loop over ppoll(), for hosts where io_uring cannot be used. Thread: the first
/// run_once() makes its caller the owner; every later call but wake() comes from it. Before the
/// first run_once() and after the owner has ended, any one thread may watch, unwatch and destroy.
/// Guarantees: callbacks may watch, unwatch and destroy channels of this loop, their own included.
/// Cost: one ppoll() an iteration and one recvmsg() or sendmsg() a transfer.
class PollLoop final : public EventLoop {
 public:
  static Result<std::unique_ptr<PollLoop>> create();
  /// Guarantees: channels may outlive the loop; they are dead.
  ~PollLoop() override;
  PollLoop(const PollLoop&) = delete;
  PollLoop& operator=(const PollLoop&) = delete;

  /// Errors: kState when `fd` is watched already. A descriptor that is not open fails the next
  /// run_once().
  Status watch(int fd, std::function<void()> on_readable) override;
  void unwatch(int fd) override;
  /// Errors: kState from a callback or from a second thread; kIo of the waiting.
  Status run_once(Deadline deadline) override;
  void wake() override;

  /// For the channels of net/ only.
  [[nodiscard]] const std::shared_ptr<Poller>& poller() const { return poller_; }

 private:
  explicit PollLoop(EventFd wake);

  EventFd wake_;
  std::shared_ptr<Poller> poller_;
  std::unordered_map<int, std::shared_ptr<PollWatch>> watches_;
};

}  // namespace godwit::net
