#include "ground/unix_socket.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

namespace godwit::lab {

Result<Fd> listen_at(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return fail(ErrorCode::kInvalidArgument, "listen", path + " is too long for a socket");
  }
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid() ||
      ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(fd.get(), 1) != 0) {
    return fail_errno(errno, "listen", path);
  }
  return fd;
}

Status wait_readable(int fd, const Watched& watched, Deadline deadline) {
  for (;;) {
    std::array<pollfd, 3> polled{
        {{fd, POLLIN, 0}, {watched.interrupt_fd, POLLIN, 0}, {watched.ended_fd, POLLIN, 0}}};
    const auto left = std::min<std::int64_t>(deadline.left_ns() / 1'000'000 + 1, 60'000);
    const auto ready = ::poll(polled.data(), polled.size(), static_cast<int>(left));
    if (ready < 0 && errno != EINTR) {
      return fail_errno(errno, "poll");
    }
    if (polled[1].revents != 0) {
      return fail(ErrorCode::kCancelled, "wait", "interrupted");
    }
    if (polled[0].revents != 0) {
      return {};
    }
    if (polled[2].revents != 0) {
      return fail(ErrorCode::kClosed, "wait", "the process has ended");
    }
    if (ready == 0 && deadline.passed()) {
      return fail(ErrorCode::kTimeout, "wait", "no answer in time");
    }
  }
}

Result<Fd> accept_one(int listener, const Watched& watched, Deadline deadline) {
  GODWIT_TRY(wait_readable(listener, watched, deadline));
  Fd fd(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!fd.valid()) {
    return fail_errno(errno, "accept");
  }
  return fd;
}

}  // namespace godwit::lab
