#include "sockets/socket_options.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>

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

/// What `check` returns in a process of an ordinary user.
int as_nobody(const std::function<int()>& check) {
  const auto child = ::fork();
  if (child == 0) {
    constexpr ::uid_t kNobody = 65534;
    const bool ordinary = ::geteuid() != 0 || ::setresuid(kNobody, kNobody, kNobody) == 0;
    ::_exit(ordinary ? check() : 100);
  }
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(SocketOptions, AWindowThatIsNotPermittedIsLeftToTheKernel) {
  constexpr int kBufferLock = 72;  // SO_BUF_LOCK
  constexpr int kSendLock = 1;     // SOCK_SNDBUF_LOCK
  constexpr int kReceiveLock = 2;  // SOCK_RCVBUF_LOCK
  constexpr std::uint64_t kFits = 128 * 1024;
  constexpr std::uint64_t kOverEveryLimit = 1ULL << 30;
  const auto pair = make_pair({LoopKind::kPoll, Family::kTcp}, ChannelKind::kControl);
  const int fd = dynamic_cast<const SocketChannel&>(*pair.source).fd();
  const auto locks = [fd] {
    int value = -1;
    socklen_t size = sizeof value;
    return ::getsockopt(fd, SOL_SOCKET, kBufferLock, &value, &size) == 0 ? value : -1;
  };
  ASSERT_EQ(locks(), 0);
  EXPECT_EQ(as_nobody([&] {
              set_send_window(fd, kOverEveryLimit);
              set_receive_window(fd, kOverEveryLimit);
              return locks();
            }),
            0);
  EXPECT_EQ(as_nobody([&] {
              set_send_window(fd, kFits);
              set_receive_window(fd, kFits);
              return locks();
            }),
            kSendLock | kReceiveLock);
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
