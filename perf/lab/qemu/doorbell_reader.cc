#include "qemu/doorbell_reader.h"

#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <utility>

#include "godwit/base/thread.h"

#include "guest/pc_platform.h"

namespace godwit::lab {
namespace {

bool readable(int fd) {
  pollfd polled{fd, POLLIN, 0};
  return fd >= 0 && ::poll(&polled, 1, 0) > 0;
}

}  // namespace

Result<std::unique_ptr<DoorbellReader>> DoorbellReader::start(Fd source) {
  GODWIT_TRY_ASSIGN(auto wake, EventFd::create());
  std::unique_ptr<DoorbellReader> reader(new DoorbellReader(std::move(source), std::move(wake)));
  GODWIT_TRY_ASSIGN(reader->thread_,
                    try_start_thread("lab-doorbells", ThreadRole::kUrgent, [self = reader.get()] {
                      self->loop();
                    }));
  return reader;
}

DoorbellReader::~DoorbellReader() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.signal();
  if (thread_.joinable()) {
    thread_.join();
  }
}

void DoorbellReader::add_target(Fd target) {
  {
    const std::lock_guard lock(mutex_);
    target_ = std::move(target);
  }
  wake_.signal();
}

void DoorbellReader::loop() {
  bool source_open = true;
  bool target_open = true;
  for (;;) {
    int target = -1;
    {
      const std::lock_guard lock(mutex_);
      if (stopping_) {
        return;
      }
      target = target_.get();
    }
    std::array<pollfd, 3> polled{{{wake_.fd(), POLLIN, 0},
                                  {source_open ? source_.get() : -1, POLLIN, 0},
                                  {target_open ? target : -1, POLLIN, 0}}};
    if (::poll(polled.data(), polled.size(), -1) < 0) {
      continue;  // interrupted
    }
    if (polled[0].revents != 0) {
      wake_.clear();
    }
    // The source first, to its end: what it sent comes before all that the target sends.
    if (source_open && (polled[1].revents != 0 || polled[2].revents != 0)) {
      source_open = take(End::kSource, source_.get());
      const std::lock_guard lock(mutex_);
      source_open_ = source_open;
    }
    if (polled[2].revents != 0) {
      target_open = take(End::kTarget, target);
    }
  }
}

/// Reads all that is there. False when the other side has closed.
bool DoorbellReader::take(End end, int fd) {
  std::array<std::uint8_t, 4096> bytes;
  for (;;) {
    const auto got = ::recv(fd, bytes.data(), bytes.size(), MSG_DONTWAIT);
    const auto stamp_ns = monotonic_ns();
    if (got <= 0) {
      return got < 0 && (errno == EAGAIN || errno == EINTR);
    }
    const std::lock_guard lock(mutex_);
    const bool was_filled = book_.filled();
    const auto errors = book_.errors();
    const bool swept = book_.sweep().done;
    book_.feed(end, {bytes.data(), static_cast<std::size_t>(got)}, stamp_ns);
    if (was_filled != book_.filled() || errors != book_.errors() || swept != book_.sweep().done) {
      changed_.notify_all();
    }
  }
}

Status DoorbellReader::ask_for_sweep() {
  const std::lock_guard lock(mutex_);
  if (::send(target_.get(), &guest::kPcCommandSweep, 1, MSG_NOSIGNAL) != 1) {
    return fail_errno(errno, "sweep", "serial port of the target");
  }
  return {};
}

Status DoorbellReader::wait(const std::function<bool(const Doorbells&)>& done,
                            int interrupt_fd,
                            Deadline deadline) {
  std::unique_lock lock(mutex_);
  for (;;) {
    if (book_.errors() != 0) {
      return fail(ErrorCode::kGuest, "doorbells", book_.error());
    }
    if (done(book_)) {
      return {};
    }
    if (!source_open_ && !target_.valid()) {
      return fail(ErrorCode::kClosed, "doorbells", "the source has closed its serial port");
    }
    if (deadline.passed()) {
      return fail(ErrorCode::kTimeout, "doorbells", "the guest says nothing");
    }
    if (readable(interrupt_fd)) {
      return fail(ErrorCode::kCancelled, "doorbells", "interrupted");
    }
    // Steps alone wake nobody: they come thousands a second.
    changed_.wait_for(lock, std::chrono::milliseconds(20));
  }
}

Doorbells DoorbellReader::book() const {
  const std::lock_guard lock(mutex_);
  return book_;
}

}  // namespace godwit::lab
