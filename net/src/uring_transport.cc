#include "godwit/net/uring_transport.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <mutex>
#include <utility>

#include "godwit/net/ring_loop.h"

#include "socket_ops.h"
#include "uring_channel.h"

namespace godwit::net {
namespace {

using engine::ChannelKind;

class UringTransport final : public engine::Transport {
 public:
  explicit UringTransport(TcpOptions options) : options_(std::move(options)) {}

  Result<std::unique_ptr<EventLoop>> make_loop() override {
    GODWIT_TRY_ASSIGN(auto loop, RingLoop::create());
    return std::unique_ptr<EventLoop>(std::move(loop));
  }

  Result<std::unique_ptr<engine::Channel>> connect(ChannelKind kind, Deadline deadline) override {
    const auto sharers = std::max<std::uint64_t>(1, options_.bulk_connections);
    // Rounded up: 0 would mean unlimited.
    const auto rate = options_.max_bandwidth == 0 ? 0 : (options_.max_bandwidth - 1) / sharers + 1;
    const ConnectOptions options{
        .kind = kind, .congestion = options_.congestion, .bytes_per_second = rate};
    GODWIT_TRY_ASSIGN(auto socket,
                      connect_socket({options_.host, options_.port}, options, deadline));
    {
      const std::lock_guard lock(mutex_);
      congestion_ = congestion_of(socket.get());
    }
    return std::unique_ptr<engine::Channel>(std::make_unique<UringChannel>(std::move(socket)));
  }

  [[nodiscard]] std::string name() const override { return "uring"; }

  [[nodiscard]] std::string congestion() const override {
    const std::lock_guard lock(mutex_);
    return congestion_;
  }

 private:
  const TcpOptions options_;
  mutable std::mutex mutex_;  ///< guards congestion_: connect() comes from any thread
  std::string congestion_;
};

class TcpListener final : public engine::Listener {
 public:
  TcpListener(Fd socket, std::string address, std::string congestion)
      : socket_(std::move(socket)),
        address_(std::move(address)),
        congestion_(std::move(congestion)) {}

  TcpListener(const TcpListener&) = delete;
  TcpListener& operator=(const TcpListener&) = delete;
  ~TcpListener() override {
    // A ring that still polls the socket keeps it open for a moment; it must not go on accepting.
    ::shutdown(socket_.get(), SHUT_RDWR);
  }

  [[nodiscard]] std::string address() const override { return address_; }
  [[nodiscard]] int fd() const override { return socket_.get(); }

  Result<std::unique_ptr<engine::Channel>> accept() override {
    sockaddr_storage peer{};
    for (;;) {
      socklen_t size = sizeof peer;
      Fd socket(::accept4(socket_.get(), reinterpret_cast<sockaddr*>(&peer), &size, SOCK_CLOEXEC));
      if (socket.valid()) {
        GODWIT_TRY(set_congestion(socket.get(), congestion_, is_loopback(peer)));
        set_nodelay(socket.get());
        return std::unique_ptr<engine::Channel>(std::make_unique<UringChannel>(std::move(socket)));
      }
      if (errno == EAGAIN) {
        return std::unique_ptr<engine::Channel>();
      }
      // A peer that gave up before it was taken is nobody's failure: look at the next.
      if (errno != EINTR && errno != ECONNABORTED && errno != EPROTO) {
        return fail_errno(errno, "accept", address_);
      }
    }
  }

  void tune(engine::Channel& channel, ChannelKind kind) override {
    if (auto* own = dynamic_cast<UringChannel*>(&channel);
        own != nullptr && kind == ChannelKind::kBulk) {
      bound_receive_window(own->fd());
    }
  }

 private:
  Fd socket_;
  std::string address_;
  std::string congestion_;
};

}  // namespace

Result<std::unique_ptr<engine::Transport>> make_uring_transport(TcpOptions options) {
  GODWIT_TRY(check_congestion_name(options.congestion));
  GODWIT_TRY(probe_uring());
  return std::unique_ptr<engine::Transport>(std::make_unique<UringTransport>(std::move(options)));
}

Result<std::unique_ptr<engine::Listener>> listen_tcp(TcpListenOptions options) {
  GODWIT_TRY(check_congestion_name(options.congestion));
  GODWIT_TRY_ASSIGN(auto socket, listen_socket({options.host, options.port}));
  GODWIT_TRY_ASSIGN(const auto bound, bound_address(socket.get()));
  return std::unique_ptr<engine::Listener>(std::make_unique<TcpListener>(
      std::move(socket), format_address(bound), std::move(options.congestion)));
}

}  // namespace godwit::net
