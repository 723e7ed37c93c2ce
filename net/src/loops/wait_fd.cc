#include "loops/wait_fd.h"

#include <poll.h>

#include <array>
#include <cerrno>

namespace godwit::net {

Result<int> wait_fds(pollfd* fds, std::size_t count, Deadline deadline) {
  const auto left_ns = deadline.left_ns();
  const timespec timeout{left_ns / 1'000'000'000, left_ns % 1'000'000'000};
  const int ready = ::ppoll(fds, count, left_ns == INT64_MAX ? nullptr : &timeout, nullptr);
  if (ready < 0 && errno != EINTR) {
    return fail_errno(errno, "ppoll");
  }
  return ready < 0 ? 0 : ready;
}

Result<bool> wait_fd(int fd, short events, Deadline deadline, int interrupt_fd) {
  std::array<pollfd, 2> polled{{{fd, events, 0}, {interrupt_fd, POLLIN, 0}}};
  for (;;) {
    GODWIT_TRY_ASSIGN(const int ready, wait_fds(polled.data(), polled.size(), deadline));
    if (polled[1].revents != 0) {
      return fail(ErrorCode::kCancelled, "wait", "interrupted");
    }
    if (ready > 0 || deadline.passed()) {
      return ready > 0;
    }
  }
}

}  // namespace godwit::net
