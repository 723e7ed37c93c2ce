#include <fcntl.h>
#include <sys/socket.h>

#include <cerrno>
#include <utility>

#include "godwit/net/transport.h"
#include "godwit/net/unix_listener.h"

#include "loops/loop_kind.h"
#include "sockets/socket_options.h"
#include "sockets/tcp_socket.h"

namespace godwit::net {
namespace {

using engine::ChannelKind;

/// All connections of one migration may wait at once: control, urgent and 64 bulk.
constexpr int kBacklog = 128;

Fd open_spare() {
  return Fd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
}

class SocketListener : public engine::Listener {
 public:
  SocketListener(LoopKind loop, int fd, std::string address)
      : loop_(loop), fd_(fd), spare_(open_spare()), address_(std::move(address)) {}

  [[nodiscard]] std::string address() const override { return address_; }
  [[nodiscard]] int fd() const override { return fd_; }

  Result<std::unique_ptr<engine::Channel>> accept() override {
    sockaddr_storage peer{};
    for (;;) {
      socklen_t size = sizeof peer;
      Fd socket(::accept4(fd_, reinterpret_cast<sockaddr*>(&peer), &size, SOCK_CLOEXEC));
      if (socket.valid()) {
        GODWIT_TRY(prepare(socket.get(), peer));
        return std::unique_ptr<engine::Channel>(make_channel(loop_, std::move(socket)));
      }
      if (errno == EAGAIN) {
        return std::unique_ptr<engine::Channel>();
      }
      if (errno == EMFILE || errno == ENFILE) {
        return fail_errno(turn_away(), "accept", "the connection is closed; raise ulimit -n");
      }
      // A peer that gave up before it was taken is nobody's failure: look at the next.
      if (errno != EINTR && errno != ECONNABORTED && errno != EPROTO) {
        return fail_errno(errno, "accept", address_);
      }
    }
  }

 protected:
  /// Options of a connection that was just accepted.
  virtual Status prepare(int socket, const sockaddr_storage& peer) = 0;
  /// A loop that still polls the socket keeps it open for a moment; it must not go on accepting.
  void stop() const { ::shutdown(fd_, SHUT_RDWR); }

 private:
  /// A connection that no descriptor is left for would stay in the queue, wake its loop for ever
  /// and leave its peer waiting: so it is taken with the spare one, and closed. Returns the errno
  /// that made it necessary.
  int turn_away() {
    const int cause = errno;
    spare_.reset();
    Fd(::accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC)).reset();
    spare_ = open_spare();
    return cause;
  }

  const LoopKind loop_;
  const int fd_;  ///< owned by the derived class
  Fd spare_;
  const std::string address_;
};

class TcpListener final : public SocketListener {
 public:
  TcpListener(LoopKind loop, Fd socket, std::string address, std::string congestion)
      : SocketListener(loop, socket.get(), std::move(address)),
        socket_(std::move(socket)),
        congestion_(std::move(congestion)) {}
  ~TcpListener() override { stop(); }

  void tune(engine::Channel& channel, ChannelKind kind) override {
    if (auto* own = dynamic_cast<SocketChannel*>(&channel);
        own != nullptr && kind == ChannelKind::kBulk) {
      bound_receive_window(own->fd());
    }
  }

 private:
  Status prepare(int socket, const sockaddr_storage& peer) override {
    tune_connection(socket);
    return set_congestion(socket, congestion_, is_loopback(peer));
  }

  const Fd socket_;
  const std::string congestion_;
};

class LocalListener final : public SocketListener {
 public:
  LocalListener(LoopKind loop, UnixListener socket, std::string address)
      : SocketListener(loop, socket.fd(), std::move(address)), socket_(std::move(socket)) {}
  ~LocalListener() override { stop(); }

  /// Nothing: what a Unix socket has under way is bounded by the sender's buffer alone.
  void tune(engine::Channel&, ChannelKind) override {}

 private:
  Status prepare(int, const sockaddr_storage&) override { return {}; }

  const UnixListener socket_;
};

}  // namespace

Result<std::unique_ptr<engine::Listener>> make_listener(LoopKind loop, ListenOptions options) {
  GODWIT_TRY(check_congestion_name(options.congestion));
  if (options.at.is_unix()) {
    GODWIT_TRY_ASSIGN(auto socket, UnixListener::create(options.at.path, kBacklog));
    return std::unique_ptr<engine::Listener>(
        std::make_unique<LocalListener>(loop, std::move(socket), format_endpoint(options.at)));
  }
  GODWIT_TRY_ASSIGN(auto socket, listen_tcp(options.at, kBacklog, Deadline::after_ns(kResolveNs)));
  GODWIT_TRY_ASSIGN(const auto bound, bound_address(socket.get()));
  return std::unique_ptr<engine::Listener>(std::make_unique<TcpListener>(
      loop, std::move(socket), format_endpoint(bound), std::move(options.congestion)));
}

}  // namespace godwit::net
