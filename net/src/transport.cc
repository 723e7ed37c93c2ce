#include "godwit/net/transport.h"

#include <algorithm>
#include <mutex>
#include <utility>

#include "godwit/base/fd.h"

#include "loops/loop_kind.h"
#include "sockets/connect.h"
#include "sockets/socket_options.h"

namespace godwit::net {
namespace {

using engine::ChannelKind;

class SocketTransport final : public engine::Transport {
 public:
  SocketTransport(LoopKind loop, TransportOptions options, EventFd interrupted)
      : loop_(loop), options_(std::move(options)), interrupted_(std::move(interrupted)) {}

  Result<std::unique_ptr<EventLoop>> make_loop() override { return net::make_loop(loop_); }

  Result<std::unique_ptr<engine::Channel>> connect(ChannelKind kind, Deadline deadline) override {
    const auto sharers = std::max<std::uint64_t>(1, options_.bulk_connections);
    // Rounded up: 0 would mean unlimited.
    const auto rate = options_.max_bandwidth == 0 ? 0 : (options_.max_bandwidth - 1) / sharers + 1;
    const ConnectOptions options{.kind = kind,
                                 .congestion = options_.congestion,
                                 .bytes_per_second = rate,
                                 .interrupt_fd = interrupted_.fd()};
    GODWIT_TRY_ASSIGN(auto socket, connect_socket(options_.peer, options, deadline));
    {
      const std::lock_guard lock(mutex_);
      congestion_ = options_.peer.is_unix() ? "none" : congestion_of(socket.get());
    }
    return std::unique_ptr<engine::Channel>(make_channel(loop_, std::move(socket)));
  }

  void interrupt() override { interrupted_.signal(); }

  [[nodiscard]] std::string name() const override { return loop_name(loop_); }

  [[nodiscard]] std::string congestion() const override {
    const std::lock_guard lock(mutex_);
    return congestion_;
  }

 private:
  const LoopKind loop_;
  const TransportOptions options_;
  const EventFd interrupted_;
  mutable std::mutex mutex_;  ///< guards congestion_: connect() comes from any thread
  std::string congestion_;
};

}  // namespace

Result<std::unique_ptr<engine::Transport>> make_transport(LoopKind loop, TransportOptions options) {
  GODWIT_TRY(check_congestion_name(options.congestion));
  GODWIT_TRY(probe_loop(loop));
  GODWIT_TRY_ASSIGN(auto interrupted, EventFd::create());
  return std::unique_ptr<engine::Transport>(
      std::make_unique<SocketTransport>(loop, std::move(options), std::move(interrupted)));
}

}  // namespace godwit::net
