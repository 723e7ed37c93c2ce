#include "godwit/net/uring_transport.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <gtest/gtest.h>

#include "net_fixture.h"

namespace godwit::net {
namespace {

using engine::ChannelKind;

TEST(UringTransport, NamesItselfAndTheCongestionControlInUse) {
  const auto pair = make_pair(ChannelKind::kBulk);
  EXPECT_EQ(pair.transport->name(), "uring");
  EXPECT_EQ(pair.transport->congestion(), "cubic");
  const auto reno = make_pair(ChannelKind::kControl, {.host = {}, .congestion = "reno"});
  EXPECT_EQ(reno.transport->congestion(), "reno");
}

TEST(UringTransport, RefusesAnUnknownCongestionControl) {
  EXPECT_EQ(make_uring_transport({.host = "::1", .congestion = "fast"}).error().code,
            ErrorCode::kInvalidArgument);
  EXPECT_EQ(listen_tcp({.congestion = "fast"}).error().code, ErrorCode::kInvalidArgument);
}

TEST(UringTransport, SaysWhereNobodyListens) {
  auto listener = std::move(*listen_tcp({}));
  const auto address = listener->address();
  const auto port = parse_address(address)->port;
  listener.reset();
  auto transport = std::move(*make_uring_transport({.host = "127.0.0.1", .port = port}));
  const auto connected =
      transport->connect(ChannelKind::kControl, Deadline::after_ns(5 * kSecondNs));
  ASSERT_FALSE(connected);
  EXPECT_EQ(connected.error().sys_errno, ECONNREFUSED);
  EXPECT_NE(connected.error().detail.find(address), std::string::npos);
}

TEST(UringTransport, GivesUpAtTheDeadline) {
  // A full backlog drops handshakes: the connection neither succeeds nor is refused.
  Fd listening(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(::listen(listening.get(), 0), 0);
  sockaddr_in bound{};
  socklen_t size = sizeof bound;
  ASSERT_EQ(::getsockname(listening.get(), reinterpret_cast<sockaddr*>(&bound), &size), 0);
  const auto port = ntohs(bound.sin_port);
  auto transport = std::move(*make_uring_transport({.host = "127.0.0.1", .port = port}));
  std::vector<std::unique_ptr<engine::Channel>> taken;
  for (int attempt = 0; attempt < 8; ++attempt) {
    auto connected = transport->connect(ChannelKind::kControl, Deadline::after_ns(50'000'000));
    if (!connected) {
      EXPECT_EQ(connected.error().code, ErrorCode::kTimeout) << connected.error().message();
      return;
    }
    taken.push_back(std::move(*connected));
  }
  FAIL() << "the backlog never filled";
}

TEST(UringTransport, SaysThatANameDoesNotResolve) {
  auto transport = std::move(*make_uring_transport({.host = "no such host", .port = 1}));
  const auto connected =
      transport->connect(ChannelKind::kControl, Deadline::after_ns(5 * kSecondNs));
  EXPECT_EQ(connected.error().code, ErrorCode::kInvalidArgument);
}

TEST(TcpListener, SaysThatThePortIsInUse) {
  const auto first = std::move(*listen_tcp({}));
  const auto second = listen_tcp({.port = parse_address(first->address())->port});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::kIo);
  EXPECT_EQ(second.error().sys_errno, EADDRINUSE);
  EXPECT_NE(second.error().detail.find(first->address()), std::string::npos);
}

TEST(TcpListener, AcceptsNothingWhenNobodyWaits) {
  auto listener = std::move(*listen_tcp({}));
  const auto accepted = listener->accept();
  ASSERT_TRUE(accepted);
  EXPECT_EQ(*accepted, nullptr);
}

TEST(TcpListener, IsWatchedByALoop) {
  auto listener = std::move(*listen_tcp({}));
  const auto address = *parse_address(listener->address());
  auto transport = std::move(*make_uring_transport({.host = address.host, .port = address.port}));
  auto loop = std::move(*transport->make_loop());
  std::unique_ptr<engine::Channel> accepted;
  ASSERT_TRUE(loop->watch(listener->fd(), [&] { accepted = accept_one(*listener); }));
  ASSERT_TRUE(transport->connect(ChannelKind::kControl, Deadline::after_ns(5 * kSecondNs)));
  EXPECT_TRUE(run_until(*loop, [&] { return accepted != nullptr; }));
  loop->unwatch(listener->fd());
}

TEST(TcpListener, ServesIpv6) {
  auto listener = listen_tcp({.host = "::1"});
  if (!listener) {
    GTEST_SKIP() << "no IPv6 here: " << listener.error().message();
  }
  const auto address = *parse_address((*listener)->address());
  EXPECT_EQ(address.host, "::1");
  auto transport = std::move(*make_uring_transport({.host = address.host, .port = address.port}));
  EXPECT_TRUE(transport->connect(ChannelKind::kControl, Deadline::after_ns(5 * kSecondNs)));
}

TEST(UringTransport, BoundsTheBytesThatABulkChannelHasUnderWay) {
  auto pair = make_pair(ChannelKind::kBulk);
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

}  // namespace
}  // namespace godwit::net
