#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstring>
#include <fstream>
#include <thread>

#include <gtest/gtest.h>

#include "godwit/net/transport.h"

#include "unit/net/net_fixture.h"

namespace godwit::net {
namespace {

using engine::ChannelKind;

class ListenerTest : public LinkTest {};

INSTANTIATE_TEST_SUITE_P(Links, ListenerTest, kAllLinks, link_name);

TEST_P(ListenerTest, SaysThatTheAddressIsInUse) {
  const auto first = listen_at(GetParam());
  const auto second = make_listener(GetParam().loop, {.at = *parse_endpoint(first->address())});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::kIo);
  EXPECT_EQ(second.error().sys_errno, EADDRINUSE);
  EXPECT_NE(second.error().detail.find(first->address()), std::string::npos);
  // The first is not disturbed.
  const auto transport = transport_to(first->address(), GetParam().loop);
  EXPECT_TRUE(connect_one(*transport, ChannelKind::kControl));
}

TEST_P(ListenerTest, AcceptsNothingWhenNobodyWaits) {
  auto listener = listen_at(GetParam());
  const auto accepted = listener->accept();
  ASSERT_TRUE(accepted);
  EXPECT_EQ(*accepted, nullptr);
}

TEST_P(ListenerTest, IsWatchedByALoop) {
  auto listener = listen_at(GetParam());
  const auto transport = transport_to(listener->address(), GetParam().loop);
  auto loop = std::move(*transport->make_loop());
  std::unique_ptr<engine::Channel> accepted;
  ASSERT_TRUE(loop->watch(listener->fd(), [&] { accepted = accept_one(*listener); }));
  const auto connected = connect_one(*transport, ChannelKind::kControl);
  EXPECT_TRUE(run_until(*loop, [&] { return accepted != nullptr; }));
  loop->unwatch(listener->fd());
}

TEST_P(ListenerTest, HoldsAllConnectionsOfAMigrationBeforeTheFirstIsAccepted) {
  constexpr std::size_t kConnections = 66;
  auto listener = listen_at(GetParam());
  const auto transport = transport_to(listener->address(), GetParam().loop);
  std::vector<std::unique_ptr<engine::Channel>> sources;
  for (std::size_t i = 0; i < kConnections; ++i) {
    sources.push_back(connect_one(*transport, ChannelKind::kBulk));
    ASSERT_TRUE(sources.back()) << "connection " << i;
  }
  for (std::size_t i = 0; i < kConnections; ++i) {
    ASSERT_TRUE(accept_one(*listener)) << "connection " << i;
  }
}

TEST(TcpListener, ServesIpv6) {
  auto listener = make_listener(LoopKind::kPoll, {.at = {.host = "::1"}});
  if (!listener) {
    GTEST_SKIP() << "no IPv6 here: " << listener.error().message();
  }
  const auto address = *parse_endpoint((*listener)->address());
  EXPECT_EQ(address.host, "::1");
  const auto transport = transport_to((*listener)->address(), LoopKind::kPoll);
  EXPECT_TRUE(connect_one(*transport, ChannelKind::kControl));
}

class UnixListenerTest : public testing::Test {
 protected:
  Result<std::unique_ptr<engine::Listener>> listen() {
    return make_listener(LoopKind::kPoll, {.at = {.path = path_}});
  }
  bool exists() const {
    struct stat info {};
    return ::lstat(path_.c_str(), &info) == 0;
  }
  void TearDown() override { ::unlink(path_.c_str()); }

  /// What a process that was killed leaves behind.
  void leave_dead_socket() const {
    const Fd dead(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un at{};
    at.sun_family = AF_UNIX;
    std::memcpy(at.sun_path, path_.data(), path_.size());
    ASSERT_EQ(::bind(dead.get(), reinterpret_cast<sockaddr*>(&at), sizeof at), 0);
    ASSERT_EQ(::listen(dead.get(), 1), 0);
  }

  const std::string path_ = unused_path();
};

TEST_F(UnixListenerTest, TellsItsPathAndIsOpenToItsUserAlone) {
  const auto mask = ::umask(0);
  const auto listener = listen();
  ::umask(mask);
  ASSERT_TRUE(listener) << listener.error().message();
  EXPECT_EQ((*listener)->address(), "unix:" + path_);
  struct stat info {};
  ASSERT_EQ(::lstat(path_.c_str(), &info), 0);
  EXPECT_TRUE(S_ISSOCK(info.st_mode));
  EXPECT_EQ(info.st_mode & 07777U, 0600U);
}

TEST_F(UnixListenerTest, RemovesItsFileAtTheEnd) {
  auto listener = listen();
  ASSERT_TRUE(listener && exists());
  listener->reset();
  EXPECT_FALSE(exists());
}

TEST_F(UnixListenerTest, LeavesAFileThatIsNoLongerItsOwn) {
  auto first = listen();
  ASSERT_TRUE(first);
  ::unlink(path_.c_str());
  const auto second = listen();
  ASSERT_TRUE(second) << second.error().message();
  first->reset();
  EXPECT_TRUE(exists());
  EXPECT_TRUE(connect_one(*transport_to("unix:" + path_, LoopKind::kPoll), ChannelKind::kControl));
}

TEST_F(UnixListenerTest, ReplacesWhatADeadProcessLeft) {
  leave_dead_socket();
  ASSERT_TRUE(exists());
  const auto listener = listen();
  ASSERT_TRUE(listener) << listener.error().message();
  EXPECT_TRUE(connect_one(*transport_to("unix:" + path_, LoopKind::kPoll), ChannelKind::kControl));
}

/// A socket whose listener has ended and that somebody still holds, until this is destroyed.
class InheritedSocket {
 public:
  explicit InheritedSocket(const std::string& path) {
    std::array<int, 2> hold{};
    EXPECT_EQ(::pipe2(hold.data(), O_CLOEXEC), 0);
    const auto listener = ::fork();
    if (listener == 0) {
      ::close(hold[1]);
      const int socket = ::socket(AF_UNIX, SOCK_STREAM, 0);
      sockaddr_un at{};
      at.sun_family = AF_UNIX;
      std::memcpy(at.sun_path, path.data(), path.size());
      const bool listens = ::bind(socket, reinterpret_cast<sockaddr*>(&at), sizeof at) == 0 &&
                           ::listen(socket, 1) == 0;
      if (listens && ::fork() == 0) {
        char end = 0;
        [[maybe_unused]] const auto ended = ::read(hold[0], &end, 1);
      }
      ::_exit(listens ? 0 : 1);
    }
    ::close(hold[0]);
    hold_ = Fd(hold[1]);
    int status = 0;
    EXPECT_EQ(::waitpid(listener, &status, 0), listener);
    EXPECT_EQ(status, 0);
  }

 private:
  Fd hold_;
};

TEST_F(UnixListenerTest, WaitsForTheSocketOfADeadProcessToGo) {
  auto held = std::make_unique<InheritedSocket>(path_);
  const std::jthread releases([&held] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    held.reset();
  });
  const auto listener = listen();
  ASSERT_TRUE(listener) << listener.error().message();
  EXPECT_TRUE(connect_one(*transport_to("unix:" + path_, LoopKind::kPoll), ChannelKind::kControl));
}

TEST_F(UnixListenerTest, LeavesASocketToTheProcessThatInheritedIt) {
  const InheritedSocket held(path_);
  const auto listener = listen();
  ASSERT_FALSE(listener);
  EXPECT_EQ(listener.error().sys_errno, EADDRINUSE);
  EXPECT_TRUE(exists());
}

/// How many of `starters` that begin at once get to listen; the others must say that it is taken.
int winners_of(std::size_t starters, const std::string& path) {
  std::vector<std::unique_ptr<engine::Listener>> made(starters);
  std::vector<int> errors(starters);
  std::atomic<std::size_t> waiting{starters};
  {
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < starters; ++i) {
      threads.emplace_back([&, i] {
        // seq_cst: a start line, so that all try at once.
        for (waiting.fetch_sub(1); waiting.load() > 0;) {
        }
        if (auto listener = make_listener(LoopKind::kPoll, {.at = {.path = path}})) {
          made[i] = std::move(*listener);
        } else {
          errors[i] = listener.error().sys_errno;
        }
      });
    }
  }
  int winners = 0;
  for (std::size_t i = 0; i < starters; ++i) {
    winners += made[i] ? 1 : 0;
    EXPECT_TRUE(made[i] || errors[i] == EADDRINUSE) << errors[i];
  }
  return winners;
}

TEST_F(UnixListenerTest, LetsOneOfManyHaveADeadPath) {
  for (int round = 0; round < 100; ++round) {
    leave_dead_socket();
    ASSERT_EQ(winners_of(3, path_), 1) << "round " << round;
  }
}

TEST_F(UnixListenerTest, DoesNotTouchAFileThatIsNoSocket) {
  std::ofstream(path_) << "precious";
  const auto listener = listen();
  ASSERT_FALSE(listener);
  EXPECT_EQ(listener.error().sys_errno, EEXIST);
  std::string text;
  std::ifstream(path_) >> text;
  EXPECT_EQ(text, "precious");
}

TEST_F(UnixListenerTest, SaysThatADirectoryIsMissing) {
  const auto listener =
      make_listener(LoopKind::kPoll, {.at = {.path = "/nonexistent/directory/socket"}});
  ASSERT_FALSE(listener);
  EXPECT_NE(listener.error().code, ErrorCode::kInvalidArgument);
  EXPECT_NE(listener.error().detail.find("/nonexistent/directory/socket"), std::string::npos);
}

}  // namespace
}  // namespace godwit::net
