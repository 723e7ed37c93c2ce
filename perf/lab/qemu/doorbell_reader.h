#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "godwit/base/clock.h"
#include "godwit/base/fd.h"
#include "godwit/base/result.h"

#include "qemu/doorbells.h"

namespace godwit::lab {

/// Stamps the doorbells of both ends as they come. A thread of its own with the urgent role: what
/// it is late is added to what the guest seems to wait.
class DoorbellReader {
 public:
  /// Takes over the source's serial socket. Errors: kIo.
  static Result<std::unique_ptr<DoorbellReader>> start(Fd source);
  ~DoorbellReader();
  DoorbellReader(const DoorbellReader&) = delete;
  DoorbellReader& operator=(const DoorbellReader&) = delete;

  /// Adds the target's socket, before the migration.
  void add_target(Fd target);
  /// Asks the guest at the target for a full sweep. Errors: kIo.
  Status ask_for_sweep();
  /// Waits until `done` of the book holds. Errors: kTimeout, kCancelled when `interrupt_fd` becomes
  /// readable, kClosed when the source ended before there was a target, kGuest when the guest
  /// reports damage meanwhile.
  Status wait(const std::function<bool(const Doorbells&)>& done,
              int interrupt_fd,
              Deadline deadline);
  /// A copy of the book.
  [[nodiscard]] Doorbells book() const;

 private:
  DoorbellReader(Fd source, EventFd wake) : source_(std::move(source)), wake_(std::move(wake)) {}
  void loop();
  bool take(End end, int fd);

  Fd source_;
  EventFd wake_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  Fd target_;  // guarded by mutex_, with all that follows
  bool stopping_ = false;
  bool source_open_ = true;
  Doorbells book_;
  std::jthread thread_;
};

}  // namespace godwit::lab
