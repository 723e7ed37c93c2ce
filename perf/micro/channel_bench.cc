#include <functional>
#include <memory>
#include <thread>

#include "godwit/base/thread.h"
#include "godwit/net/ring_loop.h"
#include "godwit/net/socket.h"
#include "godwit/net/transport.h"

#include "bench.h"

// ring_loop.cc, ring.cc, uring_channel.cc over loopback: frames of 256 KiB one way, and a request
// of 64 bytes answered with a page. Each side has its loop and its thread.

namespace godwit::micro {
namespace {

constexpr std::size_t kFrameBytes = 64 * kPageBytes;
constexpr std::size_t kRequestBytes = 64;
constexpr std::int64_t kWaitNs = 5'000'000'000;

class Handler final : public engine::ChannelHandler {
 public:
  explicit Handler(std::size_t space) : space_(space) {}
  std::span<std::byte> receive_space() override { return space_; }
  void on_received(std::size_t bytes) override {
    received += bytes;
    if (hook) {
      hook();
    }
  }
  void on_sent() override {}
  void on_error(const Error&) override { broken = true; }
  [[nodiscard]] std::span<const std::byte> bytes() const { return space_; }

  std::function<void()> hook;
  std::uint64_t received = 0;
  bool broken = false;

 private:
  std::vector<std::byte> space_;
};

struct Connection {
  std::unique_ptr<engine::Listener> listener;
  std::unique_ptr<engine::Transport> transport;
  std::unique_ptr<engine::Channel> near;
  std::unique_ptr<engine::Channel> far;

  static Result<Connection> open(engine::ChannelKind kind) {
    Connection made;
    GODWIT_TRY_ASSIGN(made.listener, net::make_listener(net::LoopKind::kUring, {}));
    GODWIT_TRY_ASSIGN(const auto peer, net::parse_endpoint(made.listener->address()));
    GODWIT_TRY_ASSIGN(made.transport,
                      net::make_transport(net::LoopKind::kUring, {.peer = peer}));
    GODWIT_TRY_ASSIGN(made.near, made.transport->connect(kind, Deadline::after_ns(kWaitNs)));
    GODWIT_TRY_ASSIGN(made.far, made.listener->accept());
    if (made.far == nullptr) {
      return fail(ErrorCode::kIo, "accept", "no connection waits");
    }
    made.listener->tune(*made.far, kind);
    return made;
  }
};

/// The far end: a loop on a thread of its own until the connection ends.
class Peer {
 public:
  Peer(engine::Channel& channel, std::size_t space, std::function<void(Peer&)> on_received)
      : handler(space), channel_(channel) {
    handler.hook = [this, on_received] { on_received(*this); };
    thread_ = start_thread("micro peer", ThreadRole::kBulk, [this] { run(); });
  }
  ~Peer() {
    channel_.shut_down();
    thread_.join();
  }
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;
  engine::Channel& channel() { return channel_; }

  Handler handler;

 private:
  void run() {
    auto loop = net::RingLoop::create();
    if (!loop || !channel_.attach(**loop, handler)) {
      return;
    }
    while (!handler.broken && (*loop)->run_once(Deadline::after_ns(kWaitNs))) {
    }
  }
  engine::Channel& channel_;
  std::jthread thread_;
};

bool run_until(EventLoop& loop, const Handler& handler, const std::function<bool()>& done) {
  const auto deadline = Deadline::after_ns(kWaitNs);
  while (!done()) {
    if (handler.broken || deadline.passed() || !loop.run_once(deadline)) {
      return false;
    }
  }
  return true;
}

bool send(engine::Channel& channel, std::span<const std::byte> bytes) {
  const iovec part{const_cast<std::byte*>(bytes.data()), bytes.size()};
  return channel.start_send({&part, 1}).has_value();
}

/// Opens a connection and the near loop, or says why not.
struct Near {
  Connection connection;
  std::unique_ptr<net::RingLoop> loop;
  Handler handler{kFrameBytes};

  static std::unique_ptr<Near> open(benchmark::State& state, engine::ChannelKind kind) {
    auto near = std::make_unique<Near>();
    auto connection = Connection::open(kind);
    auto loop = net::RingLoop::create();
    if (!connection || !loop) {
      state.SkipWithError((connection ? loop.error() : connection.error()).message().c_str());
      return nullptr;
    }
    near->connection = std::move(*connection);
    near->loop = std::move(*loop);
    if (!near->connection.near->attach(*near->loop, near->handler)) {
      state.SkipWithError("the channel could not join its loop");
      return nullptr;
    }
    return near;
  }
};

void channel_bulk(benchmark::State& state) {
  const auto near = Near::open(state, engine::ChannelKind::kBulk);
  if (near == nullptr) {
    return;
  }
  const auto frame = random_bytes(kFrameBytes, 6);
  {
    Peer peer(*near->connection.far, kFrameBytes, [](Peer&) {});
    auto& channel = *near->connection.near;
    for (auto _ : state) {
      if (!send(channel, frame) ||
          !run_until(*near->loop, near->handler, [&] { return !channel.sending(); })) {
        state.SkipWithError("the connection broke");
        break;
      }
    }
  }
  state.SetLabel(fmt::format("hash={:016x}", wire::hash64(frame)));
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(kFrameBytes));
}
BENCHMARK(channel_bulk)->UseRealTime()->Unit(benchmark::kMicrosecond);

void channel_round_trip_4k(benchmark::State& state) {
  const auto near = Near::open(state, engine::ChannelKind::kUrgent);
  if (near == nullptr) {
    return;
  }
  const auto request = random_bytes(kRequestBytes, 7);
  const auto page = random_bytes(kPageBytes, 8);
  {
    Peer peer(*near->connection.far, kRequestBytes, [&page](Peer& self) {
      if (self.handler.received % kRequestBytes == 0) {
        (void)send(self.channel(), page);
      }
    });
    auto& channel = *near->connection.near;
    std::uint64_t expected = 0;
    std::uint64_t hash = 0;
    for (auto _ : state) {
      expected += kPageBytes;
      if (!send(channel, request) || !run_until(*near->loop, near->handler, [&] {
            return near->handler.received >= expected && !channel.sending();
          })) {
        state.SkipWithError("the connection broke");
        break;
      }
      hash = fold(hash, near->handler.received == expected);
    }
    benchmark::DoNotOptimize(hash);
  }
  state.SetLabel(fmt::format("hash={:016x}", wire::hash64(page)));
}
BENCHMARK(channel_round_trip_4k)->UseRealTime()->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace godwit::micro
