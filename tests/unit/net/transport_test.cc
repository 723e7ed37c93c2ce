#include "godwit/net/transport.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <chrono>
#include <thread>

#include <gtest/gtest.h>

#include "net_fixture.h"

namespace godwit::net {
namespace {

using engine::ChannelKind;

class TransportTest : public LinkTest {
 protected:
  [[nodiscard]] bool tcp() const { return GetParam().family == Family::kTcp; }
};

INSTANTIATE_TEST_SUITE_P(Links, TransportTest, kAllLinks, link_name);

TEST_P(TransportTest, NamesItselfAndTheCongestionControlInUse) {
  const auto pair = make_pair(GetParam(), ChannelKind::kBulk);
  EXPECT_EQ(pair.transport->name(), loop_name(GetParam().loop));
  EXPECT_EQ(pair.transport->congestion(), tcp() ? "cubic" : "none");
  const auto reno = make_pair(GetParam(), ChannelKind::kControl, {.congestion = "reno"});
  EXPECT_EQ(reno.transport->congestion(), tcp() ? "reno" : "none");
}

TEST_P(TransportTest, RefusesAnUnknownCongestionControl) {
  EXPECT_EQ(
      make_transport(GetParam().loop, {.peer = {.host = "::1"}, .congestion = "fast"}).error().code,
      ErrorCode::kInvalidArgument);
  EXPECT_EQ(make_listener(GetParam().loop, {.congestion = "fast"}).error().code,
            ErrorCode::kInvalidArgument);
}

TEST_P(TransportTest, SaysWhereNobodyListens) {
  auto listener = listen_at(GetParam());
  const auto address = listener->address();
  listener.reset();
  const auto transport = transport_to(address, GetParam().loop);
  const auto connected =
      transport->connect(ChannelKind::kControl, Deadline::after_ns(5 * kSecondNs));
  ASSERT_FALSE(connected);
  EXPECT_EQ(connected.error().sys_errno, tcp() ? ECONNREFUSED : ENOENT);
  EXPECT_NE(connected.error().detail.find(address), std::string::npos);
}

/// Connects until a listener's queue is full; the error of the connection that then waits in vain.
Error fill_queue(engine::Transport& transport) {
  std::vector<std::unique_ptr<engine::Channel>> taken;
  for (int attempt = 0; attempt < 8; ++attempt) {
    auto connected = transport.connect(ChannelKind::kControl, Deadline::after_ns(50'000'000));
    if (!connected) {
      return connected.error();
    }
    taken.push_back(std::move(*connected));
  }
  return make_error(ErrorCode::kInternal, "", "the queue never filled");
}

/// Listens with the shortest queue; says where.
std::string listen_with_no_room(Fd& listening) {
  listening = Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_EQ(::listen(listening.get(), 0), 0);
  sockaddr_in bound{};
  socklen_t size = sizeof bound;
  EXPECT_EQ(::getsockname(listening.get(), reinterpret_cast<sockaddr*>(&bound), &size), 0);
  return "tcp:127.0.0.1:" + std::to_string(ntohs(bound.sin_port));
}

TEST(ConnectSocket, GivesUpAtTheDeadlineOverTcp) {
  // A full queue drops handshakes: the connection neither succeeds nor is refused.
  Fd listening;
  const auto endpoint = listen_with_no_room(listening);
  const auto error = fill_queue(*transport_to(endpoint, LoopKind::kPoll));
  EXPECT_EQ(error.code, ErrorCode::kTimeout) << error.message();
}

TEST(ConnectSocket, IsInterruptedAndStaysSo) {
  Fd listening;
  const auto endpoint = listen_with_no_room(listening);
  const auto transport = transport_to(endpoint, LoopKind::kPoll);
  std::vector<std::unique_ptr<engine::Channel>> taken;
  std::jthread interrupter([&transport] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));  // most likely while it waits
    transport->interrupt();
  });
  for (;;) {
    auto connected = transport->connect(ChannelKind::kControl, Deadline::after_ns(60 * kSecondNs));
    if (!connected) {
      EXPECT_EQ(connected.error().code, ErrorCode::kCancelled) << connected.error().message();
      break;
    }
    taken.push_back(std::move(*connected));
  }
  const auto again = transport->connect(ChannelKind::kBulk, Deadline::after_ns(60 * kSecondNs));
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, ErrorCode::kCancelled) << again.error().message();
}

TEST(ConnectSocket, GivesUpAtTheDeadlineOverAUnixSocket) {
  Fd listening(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un at{};
  at.sun_family = AF_UNIX;
  const auto path = unused_path();
  std::memcpy(at.sun_path, path.data(), path.size());
  ASSERT_EQ(::bind(listening.get(), reinterpret_cast<sockaddr*>(&at), sizeof at), 0);
  ASSERT_EQ(::listen(listening.get(), 0), 0);
  const auto error = fill_queue(*transport_to("unix:" + path, LoopKind::kPoll));
  EXPECT_EQ(error.code, ErrorCode::kTimeout) << error.message();
  ::unlink(path.c_str());
}

TEST(ConnectSocket, SaysThatANameDoesNotResolve) {
  auto transport =
      std::move(*make_transport(LoopKind::kPoll, {.peer = {.host = "no such host", .port = 1}}));
  const auto connected =
      transport->connect(ChannelKind::kControl, Deadline::after_ns(5 * kSecondNs));
  EXPECT_EQ(connected.error().code, ErrorCode::kInvalidArgument);
}

TEST_P(TransportTest, RefusesTheLoopOfTheOtherKind) {
  GODWIT_NEED_URING();
  const auto pair = make_pair(GetParam(), ChannelKind::kControl);
  const auto other = GetParam().loop == LoopKind::kUring ? LoopKind::kPoll : LoopKind::kUring;
  auto loop = std::move(*transport_to(pair.listener->address(), other)->make_loop());
  TestHandler handler;
  EXPECT_EQ(pair.source->attach(*loop, handler).error().code, ErrorCode::kInvalidArgument);
  // It is not spent: its own kind still takes it.
  auto own = std::move(*pair.transport->make_loop());
  EXPECT_TRUE(pair.source->attach(*own, handler));
}

TEST_P(TransportTest, BoundsTheBytesThatABulkChannelHasUnderWay) {
  auto pair = make_pair(GetParam(), ChannelKind::kBulk);
  auto loop = std::move(*pair.transport->make_loop());
  const std::vector<std::byte> piece(16 * kKiB);
  const auto one = part(piece.data(), piece.size());
  TestHandler handler;
  handler.sent_hook = [&] { EXPECT_TRUE(pair.source->start_send({&one, 1})); };
  ASSERT_TRUE(pair.source->attach(*loop, handler));
  ASSERT_TRUE(pair.source->start_send({&one, 1}));
  // Nobody reads: until nothing was sent for 50 ms.
  for (std::uint64_t last = 1; last != pair.source->bytes_sent();) {
    last = pair.source->bytes_sent();
    const auto deadline = Deadline::after_ns(50'000'000);
    while (!deadline.passed()) {
      ASSERT_TRUE(loop->run_once(deadline));
    }
  }
  EXPECT_LE(pair.source->bytes_sent(), kMiB);
  EXPECT_GE(pair.source->bytes_sent(), 128 * kKiB);
}

constexpr std::size_t kChannels = 16;
constexpr std::size_t kLoops = 4;
constexpr std::size_t kBytesEach = 4 * kMiB;

/// Every fourth channel from `first` on, on one loop of this thread: sends or receives all of
/// `data` on each.
void run_some(engine::Transport& transport,
              std::span<std::unique_ptr<engine::Channel>> channels,
              std::size_t first,
              std::span<const std::byte> sent) {
  auto loop = std::move(*transport.make_loop());
  std::vector<std::unique_ptr<TestHandler>> handlers;
  std::vector<std::size_t> at;
  std::size_t wrong = 0;
  at.resize(channels.size());
  for (std::size_t i = first; i < channels.size(); i += kLoops) {
    auto& handler = *handlers.emplace_back(std::make_unique<TestHandler>());
    handler.received_hook = [&, i](std::span<const std::byte> bytes) {
      // Each channel starts elsewhere in the pattern, so that a mix-up shows.
      for (const auto byte : bytes) {
        wrong += byte == static_cast<std::byte>((at[i]++ + i) % 251) ? 0U : 1U;
      }
    };
    ASSERT_TRUE(channels[i]->attach(*loop, handler));
    if (!sent.empty()) {
      const auto one = part(sent.data() + i, kBytesEach);
      ASSERT_TRUE(channels[i]->start_send({&one, 1}));
    }
  }
  ASSERT_TRUE(run_until(*loop, [&] {
    return std::all_of(handlers.begin(), handlers.end(), [&](const auto& handler) {
      return sent.empty() ? handler->received == kBytesEach : handler->sends == 1;
    });
  }));
  EXPECT_EQ(wrong, 0U);
  for (std::size_t i = first; i < channels.size(); i += kLoops) {
    channels[i].reset();
  }
}

TEST_P(TransportTest, CarriesManyBulkChannelsOnManyLoopsAtOnce) {
  auto listener = listen_at(GetParam());
  const auto transport =
      transport_to(listener->address(), GetParam().loop, {.bulk_connections = kChannels});
  std::vector<std::unique_ptr<engine::Channel>> sources(kChannels);
  std::vector<std::unique_ptr<engine::Channel>> targets(kChannels);
  // From several threads, as transports may be asked; each says which of them it is, since the
  // order of arrival is open.
  {
    std::vector<std::jthread> threads;
    for (std::size_t first = 0; first < kLoops; ++first) {
      threads.emplace_back([&, first] {
        for (std::size_t i = first; i < kChannels; i += kLoops) {
          sources[i] = connect_one(*transport, ChannelKind::kBulk);
          const auto name = static_cast<std::byte>(i);
          EXPECT_TRUE(sources[i]->send_exact({&name, 1}, Deadline::after_ns(5 * kSecondNs)));
        }
      });
    }
  }
  for (std::size_t count = 0; count < kChannels; ++count) {
    auto target = accept_one(*listener);
    ASSERT_TRUE(target);
    listener->tune(*target, ChannelKind::kBulk);
    std::byte name{};
    ASSERT_TRUE(target->receive_exact({&name, 1}, Deadline::after_ns(5 * kSecondNs)));
    targets.at(static_cast<std::size_t>(name)) = std::move(target);
  }
  std::vector<std::byte> data(kBytesEach + kChannels);
  for (std::size_t i = 0; i < data.size(); ++i) {
    data[i] = static_cast<std::byte>(i % 251);
  }
  std::vector<std::jthread> threads;
  for (std::size_t first = 0; first < kLoops; ++first) {
    threads.emplace_back([&, first] { run_some(*transport, sources, first, data); });
    threads.emplace_back([&, first] { run_some(*transport, targets, first, {}); });
  }
}

}  // namespace
}  // namespace godwit::net
