#include "ground/unix_socket.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <string>

#include <gtest/gtest.h>

#include "ground/temporary_directory.h"

namespace godwit::lab {
namespace {

Fd connected_to(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_EQ(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  return fd;
}

TEST(UnixSocket, TakesWhoConnects) {
  const auto directory = TemporaryDirectory::create();
  ASSERT_TRUE(directory);
  const auto path = directory->file("socket");
  const auto listener = listen_at(path);
  ASSERT_TRUE(listener) << listener.error().message();
  const auto client = connected_to(path);
  const auto server = accept_one(listener->get(), {}, Deadline::after_ns(10'000'000'000));
  ASSERT_TRUE(server) << server.error().message();
  ASSERT_EQ(::write(client.get(), "x", 1), 1);
  EXPECT_TRUE(wait_readable(server->get(), {}, Deadline::after_ns(10'000'000'000)));
}

TEST(UnixSocket, APathThatDoesNotFitIsRefused) {
  const auto listener = listen_at("/tmp/" + std::string(200, 'x'));
  ASSERT_FALSE(listener);
  EXPECT_EQ(listener.error().code, ErrorCode::kInvalidArgument);
  EXPECT_FALSE(listen_at("/nowhere/socket"));
}

TEST(UnixSocket, AWaitSaysWhyItEnded) {
  const auto quiet = EventFd::create();
  const auto loud = EventFd::create();
  ASSERT_TRUE(quiet && loud);
  loud->signal();
  const auto soon = Deadline::after_ns(10'000'000'000);
  struct Case {
    Watched watched;
    Deadline deadline;
    ErrorCode code;
  };
  for (const auto& one : {Case{{}, Deadline::after_ns(0), ErrorCode::kTimeout},
                          Case{{loud->fd(), -1}, soon, ErrorCode::kCancelled},
                          Case{{-1, loud->fd()}, soon, ErrorCode::kClosed},
                          Case{{loud->fd(), loud->fd()}, soon, ErrorCode::kCancelled}}) {
    const auto waited = wait_readable(quiet->fd(), one.watched, one.deadline);
    ASSERT_FALSE(waited);
    EXPECT_EQ(waited.error().code, one.code) << waited.error().message();
  }
  EXPECT_TRUE(wait_readable(loud->fd(), {-1, loud->fd()}, soon)) << "what is there comes first";
}

}  // namespace
}  // namespace godwit::lab
