#include "sockets/socket_options.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <gtest/gtest.h>

#include "channels/channel_state.h"
#include "channels/socket_channel.h"
#include "unit/net/net_fixture.h"

namespace godwit::net {
namespace {

using engine::ChannelKind;

int option_of(const engine::Channel& channel, int level, int option) {
  int value = -1;
  socklen_t size = sizeof value;
  const int fd = dynamic_cast<const SocketChannel&>(channel).fd();
  EXPECT_EQ(::getsockopt(fd, level, option, &value, &size), 0);
  return value;
}

TEST(SocketOptions, EveryTcpChannelProbesASilentPeerOnBothSides) {
  for (const auto kind : {ChannelKind::kControl, ChannelKind::kBulk, ChannelKind::kUrgent}) {
    const auto pair = make_pair({LoopKind::kPoll, Family::kTcp}, kind);
    for (const auto* channel : {pair.source.get(), pair.target.get()}) {
      EXPECT_EQ(option_of(*channel, SOL_SOCKET, SO_KEEPALIVE), 1);
      EXPECT_EQ(option_of(*channel, IPPROTO_TCP, TCP_KEEPIDLE), kKeepaliveIdleSeconds);
      EXPECT_EQ(option_of(*channel, IPPROTO_TCP, TCP_KEEPINTVL), kKeepaliveIntervalSeconds);
      EXPECT_EQ(option_of(*channel, IPPROTO_TCP, TCP_KEEPCNT), kKeepaliveProbes);
      EXPECT_EQ(option_of(*channel, IPPROTO_TCP, TCP_NODELAY), 1);
      EXPECT_EQ(option_of(*channel, IPPROTO_TCP, TCP_USER_TIMEOUT), 0);
    }
  }
}

TEST(SocketOptions, ASilentPeerIsALostLinkAndNoTimeout) {
  for (const int error : {ETIMEDOUT, EHOSTUNREACH, ENETUNREACH, ECONNRESET, EPIPE}) {
    EXPECT_TRUE(is_lost_connection(error)) << error;
  }
  EXPECT_FALSE(is_lost_connection(EFAULT));
  EXPECT_FALSE(is_lost_connection(ENOMEM));
}

}  // namespace
}  // namespace godwit::net
