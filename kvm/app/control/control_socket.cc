#include "control/control_socket.h"

#include <fcntl.h>
#include <linux/sockios.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "godwit/base/log.h"
#include "godwit/base/thread.h"

#include "control/requests.h"
#include "control/timeouts.h"

namespace godwit::app {
namespace {

constexpr std::size_t kLineBytesMax = 16U << 20;
// Copying and printing JSON take stack for every level; nothing of ours has more than five.
constexpr int kDepthMax = 64;
constexpr int kBacklog = 16;
/// A thread each: those who watch a guest are few. One more takes the place of an idle one.
constexpr std::size_t kClientsMax = 64;

Result<Fd> open_spare() {
  Fd fd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) {
    return fail_errno(errno, "open", "/dev/null");
  }
  return fd;
}

/// Tells a client why it is not answered.
void refuse(ControlConnection& client, const std::string& why) {
  [[maybe_unused]] const auto sent = client.send(error_json(make_error(ErrorCode::kIo, "", why)));
}

/// Errors: kProtocol.
Result<Json> parse_line(const std::string& line) {
  auto parsed = parse_json_bounded(line, kDepthMax);
  if (parsed.too_deep) {
    return fail(ErrorCode::kProtocol, "control socket", "a line nests too deeply");
  }
  if (parsed.json.is_discarded()) {
    return fail(ErrorCode::kProtocol, "control socket", "a line is no JSON");
  }
  return std::move(parsed.json);
}

}  // namespace

Result<std::unique_ptr<ControlConnection>> ControlConnection::connect(const std::string& path) {
  GODWIT_TRY_ASSIGN(const auto address, net::unix_address(path));
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) {
    return fail_errno(errno, "socket");
  }
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return fail_errno(errno,
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

Status ControlConnection::offer(const Json& json) {
  constexpr int kUnreadMax = 16384;
  int unread = 0;
  if (::ioctl(fd_.get(), SIOCOUTQ, &unread) == 0 && unread > kUnreadMax) {
    return {};
  }
  return send(json);
}

Status ControlConnection::ask(const Json& request) {
  auto sent = send(request);
  return !sent && sent.error().sys_errno == EPIPE ? Status{} : sent;
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

Result<Json> next_trace(ControlConnection& source, int interrupt_fd) {
  auto message = source.next(interrupt_fd, Deadline::after_ns(kTraceTimeoutNs));
  if (message && answer_of(*message) != Answer::kTrace) {
    message = fail(ErrorCode::kProtocol, "", "the source sent no trace");
  }
  if (!message) {
    message.error().operation = "--trace";
    return message;
  }
  return trace_of(*message);
}

// ------------------------------------------------------------------------------------------ server

Result<std::unique_ptr<ControlServer>> ControlServer::start(const std::string& path,
                                                            Handler handler) {
  auto listener = net::UnixListener::create(path, kBacklog);
  if (!listener) {
    auto& error = listener.error();
    error.operation = "--control";
    // A path that names something else is a mistake of the caller's; one that is taken is not.
    if (error.sys_errno == EEXIST) {
      error.code = ErrorCode::kInvalidArgument;
    } else if (error.sys_errno == EADDRINUSE) {
      error.code = ErrorCode::kState;
    }
    return fail(std::move(error));
  }
  GODWIT_TRY_ASSIGN(auto wake, EventFd::create());
  GODWIT_TRY_ASSIGN(auto spare, open_spare());
  std::unique_ptr<ControlServer> server(new ControlServer(
      std::move(*listener), std::move(spare), std::move(wake), std::move(handler)));
  GODWIT_TRY_ASSIGN(server->thread_,
                    try_start_thread("control", ThreadRole::kUrgent, [made = server.get()] {
                      made->accept_loop();
                    }));
  return server;
}

ControlServer::ControlServer(net::UnixListener listener, Fd spare, EventFd wake, Handler handler)
    : listener_(std::move(listener)),
      spare_(std::move(spare)),
      wake_(std::move(wake)),
      handler_(std::move(handler)) {}

ControlServer::~ControlServer() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.signal();
  if (thread_.joinable()) {
    thread_.join();
  }
  listener_.reset();
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
    std::array<pollfd, 2> polled{{{listener_->fd(), POLLIN, 0}, {wake_.fd(), POLLIN, 0}}};
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
  Fd fd(::accept4(listener_->fd(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!fd.valid()) {
    if (errno == EMFILE || errno == ENFILE) {
      turn_away();
    }
    return;
  }
  constexpr timeval kSendTimeout{kSendTimeoutSeconds, 0};
  (void)::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &kSendTimeout, sizeof kSendTimeout);
  const std::lock_guard lock(mutex_);
  if (clients_.size() >= kClientsMax && !make_room()) {
    ControlConnection client(std::move(fd));
    refuse(client, fmt::format("the guest's process has {} clients already", kClientsMax));
    return;
  }
  auto& client = clients_.emplace_back(std::move(fd));
  auto thread =
      try_start_thread("control client", ThreadRole::kUrgent, [this, &client] { serve(client); });
  if (!thread) {
    refuse(client.connection,
           "the guest's process gets no thread any more: " + thread.error().message());
    clients_.pop_back();
    return;
  }
  client.thread = std::move(*thread);
}

bool ControlServer::make_room() {
  // Who has been told to go has gone, or is about to: it takes no place any more.
  const auto staying = std::ranges::count_if(
      clients_, [](const Client& client) { return !client.dismissed && !client.ended; });
  if (static_cast<std::size_t>(staying) < kClientsMax) {
    return true;
  }
  for (auto& client : clients_) {
    if (!client.busy && !client.ended && !client.dismissed) {
      log_warn("control socket: {} clients; the one that has been silent for longest is closed",
               clients_.size());
      client.dismissed = true;
      client.connection.stop_receiving();
      return true;
    }
  }
  return false;
}

/// A connection that cannot be taken would wake the loop for ever, and its client would wait as
/// long: so it is taken with the spare descriptor, told, and closed.
void ControlServer::turn_away() {
  spare_.reset();
  if (Fd fd(::accept4(listener_->fd(), nullptr, nullptr, SOCK_CLOEXEC)); fd.valid()) {
    ControlConnection client(std::move(fd));
    refuse(client, "the guest's process has no file descriptor left; raise its limit (ulimit -n)");
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
    const auto set_busy = [&](bool busy) {
      const std::lock_guard lock(mutex_);
      client.busy = busy;
    };
    set_busy(true);
    handler_(*request, client.connection);
    set_busy(false);
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
