#include "control/control_socket.h"

#include <sys/socket.h>
#include <sys/time.h>

#include <array>
#include <string>

#include <gtest/gtest.h>

namespace godwit::app {
namespace {

Json line(const char* what, int number) {
  Json json;
  json["what"] = what;
  json["number"] = number;
  return json;
}

// A client that does not read: what nobody misses is left out, and there is room for the answer.
TEST(ControlConnection, ProgressIsLostOnAClientThatDoesNotReadAndTheAnswerIsNot) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
  // Who waits for the reader fails.
  constexpr timeval kSendTimeout{1, 0};
  ASSERT_EQ(::setsockopt(ends[0], SOL_SOCKET, SO_SNDTIMEO, &kSendTimeout, sizeof kSendTimeout), 0);
  ControlConnection server{Fd(ends[0])};
  ControlConnection client{Fd(ends[1])};
  constexpr int kMany = 10'000;
  for (int i = 0; i < kMany; ++i) {
    ASSERT_TRUE(server.offer(line("progress", i)));
  }
  auto report = line("report", kMany);
  report["text"] = std::string(65'536, 'x');
  ASSERT_TRUE(server.send(report));
  int heard = 0;
  for (;;) {
    const auto next = client.next(-1, Deadline::after_ns(10'000'000'000));
    ASSERT_TRUE(next) << next.error().message();
    if ((*next)["what"] == "report") {
      EXPECT_EQ((*next)["text"].get<std::string>().size(), 65'536U);
      break;
    }
    EXPECT_EQ((*next)["number"], heard++) << "what comes, comes in order";
  }
  EXPECT_GT(heard, 0);
  EXPECT_LT(heard, kMany);
  ASSERT_TRUE(server.offer(line("progress", 0))) << "and goes on once it is read";
  EXPECT_TRUE(client.next(-1, Deadline::after_ns(10'000'000'000)));
}

}  // namespace
}  // namespace godwit::app
