#pragma once

#include <utility>

#include "godwit/base/result.h"

namespace godwit {

/// Owner of one file descriptor. Ownership: closes it; moves only.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept;
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd() { reset(); }

  [[nodiscard]] int get() const { return fd_; }
  [[nodiscard]] bool valid() const { return fd_ >= 0; }
  [[nodiscard]] int release() { return std::exchange(fd_, -1); }
  void reset();

 private:
  int fd_ = -1;
};

/// An eventfd that wakes a loop. Thread: signal() from any thread, clear() from the waiting one.
class EventFd {
 public:
  static Result<EventFd> create();
  void signal() const;
  /// Takes the pending signals; returns whether there was one.
  bool clear() const;  // NOLINT(modernize-use-nodiscard): most only want it cleared
  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  explicit EventFd(Fd fd) : fd_(std::move(fd)) {}
  Fd fd_;
};

}  // namespace godwit
