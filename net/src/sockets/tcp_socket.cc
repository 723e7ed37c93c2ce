#include "sockets/tcp_socket.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "sockets/resolver.h"

namespace godwit::net {
namespace {

Address address_of(const sockaddr_storage& storage) {
  char text[INET6_ADDRSTRLEN] = {};
  if (storage.ss_family == AF_INET6) {
    sockaddr_in6 v6{};
    std::memcpy(&v6, &storage, sizeof v6);
    ::inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof text);
    return {.host = text, .port = ntohs(v6.sin6_port)};
  }
  sockaddr_in v4{};
  std::memcpy(&v4, &storage, sizeof v4);
  ::inet_ntop(AF_INET, &v4.sin_addr, text, sizeof text);
  return {.host = text, .port = ntohs(v4.sin_port)};
}

}  // namespace

Result<Fd> listen_tcp(const Address& at, int backlog, Deadline deadline) {
  GODWIT_TRY_ASSIGN(const auto list, resolve(at, AI_PASSIVE, deadline));
  Fd fd(::socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) {
    return fail_errno(errno, "socket");
  }
  // A connection of the last run in TIME_WAIT must not keep the port.
  const int yes = 1;
  [[maybe_unused]] const int status =
      ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (::bind(fd.get(), list->ai_addr, list->ai_addrlen) != 0 || ::listen(fd.get(), backlog) != 0) {
    const int error = errno;
    const auto text = format_endpoint(at);
    return fail_errno(
        error,
        "listen",
        error == EADDRINUSE
            ? fmt::format("{} is in use; choose another port, or 0 for any free one", text)
            : text);
  }
  return fd;
}

Result<Address> bound_address(int fd) {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &size) != 0) {
    return fail_errno(errno, "getsockname");
  }
  return address_of(storage);
}

}  // namespace godwit::net
