#include "godwit/net/unix_listener.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "sockets/socket_options.h"

namespace godwit::net {
namespace {

constexpr mode_t kOwnerOnly = 0600;

Result<Fd> make_socket() {
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) {
    return fail_errno(errno, "socket");
  }
  return fd;
}

/// Between finding that a socket's file is dead and replacing it, another process may have replaced
/// it already: those that start at once wait for each other here. A lock on the directory leaves no
/// file behind. Where the directory cannot be read or locked, starting at once is the caller's
/// risk.
Fd lock_directory(const std::string& path) {
  const auto slash = path.rfind('/');
  const auto directory = slash == std::string::npos ? std::string(".") : path.substr(0, slash + 1);
  Fd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd.valid()) {
    while (::flock(fd.get(), LOCK_EX) != 0 && errno == EINTR) {
    }
  }
  return fd;
}

Status served(const std::string& path) {
  return fail_errno(
      EADDRINUSE,
      "listen",
      fmt::format("unix:{} is served by a running process; stop it or choose another path", path));
}

/// Whether the process that called listen() on the other end of `connected` has ended.
bool listener_has_ended(const Fd& connected) {
  ucred peer{};
  socklen_t size = sizeof peer;
  // 0: a process of a namespace that cannot be seen from here.
  if (::getsockopt(connected.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 || peer.pid == 0) {
    return false;
  }
  const Fd process(static_cast<int>(::syscall(SYS_pidfd_open, peer.pid, 0)));
  if (!process.valid()) {
    return errno == ESRCH;
  }
  pollfd ended{process.get(), POLLIN, 0};
  return ::poll(&ended, 1, 0) == 1;
}

/// Whether nobody serves `path` any more. A process that was killed may be gone while its socket
/// still takes connections: io_uring lets go of the files of requests under way in a work item of
/// the kernel, after the process's end (io_ring_exit_work() in io_uring/io_uring.c). A connection
/// made then is hung up when the socket is closed. One whose listener has ended and that stays is
/// served by a process that inherited it.
Result<bool> is_dead(const std::string& path, const sockaddr_un& address) {
  GODWIT_TRY_ASSIGN(const auto probe, make_socket());
  if (::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
    pollfd hung_up{probe.get(), 0, 0};
    return listener_has_ended(probe) && ::poll(&hung_up, 1, kTakeDownMs) == 1;
  }
  if (errno == EAGAIN) {
    return false;  // somebody listens, and the queue is full
  }
  if (errno != ECONNREFUSED) {
    return fail_errno(errno, "listen", fmt::format("unix:{}", path));
  }
  return true;
}

/// Removes the socket file of a process that is dead.
Status clear_path(const std::string& path, const sockaddr_un& address) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0) {
    return {};  // nothing there; bind() tells of all else
  }
  if (!S_ISSOCK(info.st_mode)) {
    return fail_errno(
        EEXIST, "listen", fmt::format("unix:{} is no socket; choose another path", path));
  }
  GODWIT_TRY_ASSIGN(const bool dead, is_dead(path, address));
  if (!dead) {
    return served(path);
  }
  if (::unlink(path.c_str()) != 0) {
    return fail_errno(errno, "unlink", path);
  }
  return {};
}

}  // namespace

Result<sockaddr_un> unix_address(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty()) {
    return fail(ErrorCode::kInvalidArgument, "address", "unix: the path is empty");
  }
  if (path.size() >= sizeof address.sun_path || path.find('\0') != std::string::npos) {
    return fail(ErrorCode::kInvalidArgument,
                "address",
                fmt::format("unix:{} is too long for a socket: {} bytes at most",
                            path,
                            sizeof address.sun_path - 1));
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

Result<UnixListener> UnixListener::create(const std::string& path, int backlog) {
  GODWIT_TRY_ASSIGN(const auto address, unix_address(path));
  const auto lock = lock_directory(path);
  GODWIT_TRY(clear_path(path, address));
  GODWIT_TRY_ASSIGN(auto fd, make_socket());
  // bind() gives the file the socket's own mode: nobody else may connect, not even for a moment,
  // and the process's mask is left alone. Source: unix_bind_bsd() in net/unix/af_unix.c
  if (::fchmod(fd.get(), kOwnerOnly) != 0 ||
      ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return fail_errno(errno, "listen", fmt::format("unix:{}", path));
  }
  struct stat info {};
  if (::listen(fd.get(), backlog) != 0 || ::lstat(path.c_str(), &info) != 0) {
    const auto cause = errno;
    ::unlink(path.c_str());
    return fail_errno(cause, "listen", fmt::format("unix:{}", path));
  }
  return UnixListener(std::move(fd), path, info.st_dev, info.st_ino);
}

UnixListener::~UnixListener() {
  if (!socket_.valid()) {
    return;
  }
  const auto lock = lock_directory(path_);
  struct stat info {};
  if (::lstat(path_.c_str(), &info) == 0 && info.st_dev == device_ && info.st_ino == inode_) {
    ::unlink(path_.c_str());
  }
}

}  // namespace godwit::net
