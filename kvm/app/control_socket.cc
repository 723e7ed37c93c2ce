#include "control_socket.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "godwit/base/log.h"
#include "godwit/base/thread.h"

namespace godwit::app {
namespace {

constexpr std::size_t kLineBytesMax = 16U << 20;
// Copying and printing JSON take stack for every level; nothing of ours has more than five.
constexpr int kDepthMax = 64;
constexpr int kBacklog = 16;
constexpr mode_t kOwnerOnly = 0600;
constexpr timeval kSendTimeout{5, 0};

Result<sockaddr_un> socket_address(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return fail(
        ErrorCode::kInvalidArgument,
        "--control",
        fmt::format(
            "'{}' is too long for a socket: {} bytes at most", path, sizeof address.sun_path - 1));
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

Result<Fd> make_socket() {
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) {
    return fail_errno(errno, "socket");
  }
  return fd;
}

Status connect_to(const Fd& fd, const sockaddr_un& address) {
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return fail_errno(errno, "connect");
  }
  return {};
}

Result<Fd> open_spare() {
  Fd fd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) {
    return fail_errno(errno, "open", "/dev/null");
  }
  return fd;
}

/// Errors: kProtocol.
Result<Json> parse_line(const std::string& line) {
  bool too_deep = false;
  const auto keep = [&too_deep](int depth, Json::parse_event_t, Json&) {
    too_deep = too_deep || depth > kDepthMax;
    return !too_deep;
  };
  auto json = Json::parse(line, keep, false);
  if (too_deep) {
    return fail(ErrorCode::kProtocol, "control socket", "a line nests too deeply");
  }
  if (json.is_discarded()) {
    return fail(ErrorCode::kProtocol, "control socket", "a line is no JSON");
  }
  return json;
}

/// Between finding that a socket's file is dead and replacing it, another process may have replaced
/// it already: those that start or end at once wait for each other here. A lock on the directory
/// leaves no file behind. Where it cannot be opened or locked, starting at once is the caller's
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

/// Removes the socket file of a process that is dead.
Status clear_path(const std::string& path, const sockaddr_un& address) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0) {
    return {};  // nothing there; bind() tells of all else
  }
  if (!S_ISSOCK(info.st_mode)) {
    return fail(ErrorCode::kInvalidArgument,
                "--control",
                fmt::format("'{}' exists and is no socket", path));
  }
  GODWIT_TRY_ASSIGN(const auto probe, make_socket());
  // Not to wait where the one that listens does not accept: a full queue is a sign of life.
  if (::fcntl(probe.get(), F_SETFL, O_NONBLOCK) != 0) {
    return fail_errno(errno, "fcntl");
  }
  const auto connected = connect_to(probe, address);
  if (connected || connected.error().sys_errno == EAGAIN) {
    return fail(
        ErrorCode::kState,
        "--control",
        fmt::format("'{}' is served by a running process; stop it or choose another path", path));
  }
  if (connected.error().sys_errno != ECONNREFUSED) {
    return fail_errno(connected.error().sys_errno, "--control", fmt::format("'{}'", path));
  }
  if (::unlink(path.c_str()) != 0) {
    return fail_errno(errno, "unlink", path);
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<ControlConnection>> ControlConnection::connect(const std::string& path) {
  GODWIT_TRY_ASSIGN(const auto address, socket_address(path));
  GODWIT_TRY_ASSIGN(auto fd, make_socket());
  if (auto status = connect_to(fd, address); !status) {
    return fail_errno(status.error().sys_errno,
                      "control socket",
                      fmt::format("nobody answers at '{}'; is the guest's process running?", path));
  }
  return std::make_unique<ControlConnection>(std::move(fd));
}

Status ControlConnection::send(const Json& json) {
  auto line = json_text(json);
  line += '\n';
  const std::lock_guard lock(send_mutex_);
  for (std::size_t at = 0; at < line.size();) {
    const auto sent = ::send(fd_.get(), line.data() + at, line.size() - at, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) {
      continue;
    }
    if (sent < 0) {
      return fail_errno(errno, "control socket");
    }
    at += static_cast<std::size_t>(sent);
  }
  return {};
}

Result<Json> ControlConnection::next(int interrupt_fd, Deadline deadline) {
  for (;;) {
    if (const auto end = received_.find('\n'); end != std::string::npos) {
      auto json = parse_line(received_.substr(0, end));
      received_.erase(0, end + 1);
      return json;
    }
    if (received_.size() > kLineBytesMax) {
      return fail(ErrorCode::kProtocol, "control socket", "a line is too long");
    }
    std::array<pollfd, 2> polled{{{fd_.get(), POLLIN, 0}, {interrupt_fd, POLLIN, 0}}};
    const auto left = deadline.left_ns();
    const int wait_ms =
        left == INT64_MAX ? -1
                          : static_cast<int>(std::min<std::int64_t>(left / 1'000'000 + 1, 1 << 30));
    const auto ready = ::poll(polled.data(), polled.size(), wait_ms);
    if (ready < 0 && errno != EINTR) {
      return fail_errno(errno, "poll");
    }
    if (ready <= 0) {
      if (deadline.passed()) {
        return fail(ErrorCode::kTimeout, "control socket", "no answer in time");
      }
      continue;
    }
    if ((polled[1].revents & POLLIN) != 0) {
      return fail(ErrorCode::kCancelled, "control socket", "interrupted");
    }
    std::array<char, 16384> buffer;
    const auto got = ::recv(fd_.get(), buffer.data(), buffer.size(), 0);
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got <= 0) {
      return fail(ErrorCode::kClosed, "control socket", "the other process closed it");
    }
    received_.append(buffer.data(), static_cast<std::size_t>(got));
  }
}

void ControlConnection::stop_receiving() {
  ::shutdown(fd_.get(), SHUT_RD);
}

// ------------------------------------------------------------------------------------------------
// server

Result<std::unique_ptr<ControlServer>> ControlServer::start(const std::string& path,
                                                            Handler handler) {
  GODWIT_TRY_ASSIGN(const auto address, socket_address(path));
  GODWIT_TRY_ASSIGN(auto wake, EventFd::create());
  GODWIT_TRY_ASSIGN(auto spare, open_spare());
  const auto lock = lock_directory(path);
  GODWIT_TRY(clear_path(path, address));
  GODWIT_TRY_ASSIGN(auto fd, make_socket());
  // bind() gives the file the socket's own mode: nobody else may connect, not even for a moment,
  // and the process's mask is left alone. Source: unix_bind_bsd() in net/unix/af_unix.c
  if (::fchmod(fd.get(), kOwnerOnly) != 0 ||
      ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return fail_errno(errno, "--control", fmt::format("'{}'", path));
  }
  struct stat info {};
  if (::listen(fd.get(), kBacklog) != 0 || ::lstat(path.c_str(), &info) != 0) {
    const auto cause = errno;
    ::unlink(path.c_str());
    return fail_errno(cause, "listen", path);
  }
  SocketFile file{path, info.st_dev, info.st_ino};
  return std::unique_ptr<ControlServer>(new ControlServer(
      std::move(file), std::move(fd), std::move(spare), std::move(wake), std::move(handler)));
}

ControlServer::ControlServer(SocketFile file, Fd listener, Fd spare, EventFd wake, Handler handler)
    : file_(std::move(file)),
      listener_(std::move(listener)),
      spare_(std::move(spare)),
      wake_(std::move(wake)),
      handler_(std::move(handler)),
      thread_(start_thread("control", ThreadRole::kUrgent, [this] { accept_loop(); })) {}

ControlServer::~ControlServer() {
  {
    // Somebody may have put another socket there meanwhile: that one is not ours to remove.
    const auto lock = lock_directory(file_.path);
    struct stat info {};
    if (::lstat(file_.path.c_str(), &info) == 0 && info.st_dev == file_.device &&
        info.st_ino == file_.inode) {
      ::unlink(file_.path.c_str());
    }
  }
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.signal();
  thread_.join();
  {
    const std::lock_guard lock(mutex_);
    for (auto& client : clients_) {
      client.connection.stop_receiving();  // answers that are being made still go out
    }
  }
  clients_.clear();  // joins; no lock, since the threads take it to say that they ended
}

void ControlServer::accept_loop() {
  for (;;) {
    std::array<pollfd, 2> polled{{{listener_.get(), POLLIN, 0}, {wake_.fd(), POLLIN, 0}}};
    if (::poll(polled.data(), polled.size(), -1) < 0 && errno != EINTR) {
      log_error("control socket: poll: {}", errno_error(errno, "poll").message());
      return;
    }
    wake_.clear();
    remove_ended();
    {
      const std::lock_guard lock(mutex_);
      if (stopping_) {
        return;
      }
    }
    if ((polled[0].revents & POLLIN) != 0) {
      accept_one();
    }
  }
}

void ControlServer::accept_one() {
  Fd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!fd.valid()) {
    if (errno == EMFILE || errno == ENFILE) {
      turn_away();
    }
    return;
  }
  // Who asks and then does not read must not keep this process from ending.
  (void)::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &kSendTimeout, sizeof kSendTimeout);
  const std::lock_guard lock(mutex_);
  auto& client = clients_.emplace_back(std::move(fd));
  client.thread =
      start_thread("control client", ThreadRole::kUrgent, [this, &client] { serve(client); });
}

/// A connection that cannot be taken would wake the loop for ever, and its client would wait as
/// long: so it is taken with the spare descriptor, told, and closed.
void ControlServer::turn_away() {
  spare_.reset();
  if (Fd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC)); fd.valid()) {
    Json json;
    json["type"] = "error";
    json["code"] = error_code_name(ErrorCode::kIo);
    json["message"] =
        "the guest's process has no file descriptor left; raise its limit (ulimit -n)";
    ControlConnection client(std::move(fd));
    [[maybe_unused]] const auto sent = client.send(json);
  }
  if (auto spare = open_spare(); spare) {
    spare_ = std::move(*spare);
  }
}

void ControlServer::serve(Client& client) {
  for (;;) {
    auto request = client.connection.next();
    if (!request) {
      break;
    }
    handler_(*request, client.connection);
  }
  {
    const std::lock_guard lock(mutex_);
    client.ended = true;
  }
  wake_.signal();  // its descriptor goes back now, not when the next client comes
}

void ControlServer::remove_ended() {
  std::list<Client> ended;
  const std::lock_guard lock(mutex_);
  for (auto it = clients_.begin(); it != clients_.end();) {
    const auto next = std::next(it);
    if (it->ended) {
      ended.splice(ended.end(), clients_, it);
    }
    it = next;
  }
  // `lock` is released before `ended` joins: both are destroyed in reverse order of declaration.
}

}  // namespace godwit::app
