#include "sockets/connect.h"

#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "godwit/net/unix_listener.h"

#include "loops/wait_fd.h"
#include "sockets/resolver.h"
#include "sockets/socket_options.h"

namespace godwit::net {
namespace {

tl::unexpected<Error> connect_error(int sys_errno, const Address& peer) {
  const auto at = format_endpoint(peer);
  if (sys_errno == ECONNREFUSED || (sys_errno == ENOENT && peer.is_unix())) {
    auto error = errno_error(sys_errno, "connect", fmt::format("nobody listens at {}", at));
    error.code = ErrorCode::kIo;  // a path without a file is no missing feature
    return fail(std::move(error));
  }
  return fail_errno(sys_errno, "connect", at);
}

tl::unexpected<Error> no_answer(const Address& peer) {
  return fail(ErrorCode::kTimeout,
              "connect",
              fmt::format("{} does not answer; check the address{}",
                          format_endpoint(peer),
                          peer.is_unix() ? "" : " and firewalls"));
}

Status wait_connected(int fd, const Address& peer, Deadline deadline, int interrupt_fd) {
  GODWIT_TRY_ASSIGN(const bool ready, wait_fd(fd, POLLOUT, deadline, interrupt_fd));
  if (!ready) {
    return no_answer(peer);
  }
  int error = 0;
  socklen_t size = sizeof error;
  if (::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0) {
    error = errno;
  }
  return error == 0 ? Status{} : Status(connect_error(error, peer));
}

Result<Fd> connect_one(const addrinfo& to,
                       const Address& peer,
                       const ConnectOptions& options,
                       Deadline deadline) {
  Fd fd(::socket(to.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) {
    return fail_errno(errno, "socket");
  }
  sockaddr_storage storage{};
  std::memcpy(&storage, to.ai_addr, to.ai_addrlen);
  GODWIT_TRY(set_congestion(fd.get(), options.congestion, is_loopback(storage)));
  tune_connection(fd.get());
  // A signal leaves the handshake running: it is waited for like EINPROGRESS.
  if (::connect(fd.get(), to.ai_addr, to.ai_addrlen) != 0) {
    if (errno != EINPROGRESS && errno != EINTR) {
      return connect_error(errno, peer);
    }
    GODWIT_TRY(wait_connected(fd.get(), peer, deadline, options.interrupt_fd));
  }
  const int flags = ::fcntl(fd.get(), F_GETFL);
  if (flags < 0 || ::fcntl(fd.get(), F_SETFL, flags & ~O_NONBLOCK) != 0) {
    return fail_errno(errno, "fcntl");
  }
  if (options.kind == engine::ChannelKind::kBulk) {
    bound_send_window(fd.get(), options.bytes_per_second);
  }
  return fd;
}

/// The time of a blocking connect() on a Unix socket is its send timeout: a non-blocking one does
/// not wait for room in the listener's queue but fails. Source: unix(7), socket(7)
void set_send_timeout(int fd, std::int64_t ns) {
  // At least 1 us, since 0 means without end.
  const auto us = std::max<std::int64_t>(ns / 1000, 1);
  const timeval timeout = ns == INT64_MAX ? timeval{} : timeval{us / 1'000'000, us % 1'000'000};
  [[maybe_unused]] const int status =
      ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
}

Result<Fd> connect_unix(const Address& peer, const ConnectOptions& options, Deadline deadline) {
  GODWIT_TRY_ASSIGN(const auto address, unix_address(peer.path));
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) {
    return fail_errno(errno, "socket");
  }
  for (;;) {
    set_send_timeout(fd.get(), deadline.left_ns());
    if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
      break;
    }
    if (errno == EAGAIN) {
      return no_answer(peer);
    }
    if (errno != EINTR) {
      return connect_error(errno, peer);
    }
  }
  set_send_timeout(fd.get(), INT64_MAX);
  if (options.kind == engine::ChannelKind::kBulk) {
    bound_send_window(fd.get(), options.bytes_per_second);
  }
  return fd;
}

}  // namespace

Result<Fd> connect_socket(const Address& peer, const ConnectOptions& options, Deadline deadline) {
  GODWIT_TRY(wait_fd(-1, 0, Deadline{0}, options.interrupt_fd));  // even if it would not wait
  if (peer.is_unix()) {
    return connect_unix(peer, options, deadline);
  }
  GODWIT_TRY_ASSIGN(const auto list, resolve(peer, 0, deadline, options.interrupt_fd));
  Result<Fd> last = fail(ErrorCode::kInvalidArgument, "connect", "the name has no address");
  for (const auto* to = list.get(); to != nullptr; to = to->ai_next) {
    last = connect_one(*to, peer, options, deadline);
    if (last || deadline.passed() || last.error().code == ErrorCode::kCancelled) {
      break;
    }
  }
  return last;
}

}  // namespace godwit::net
