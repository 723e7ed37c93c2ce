#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <thread>

#include <gtest/gtest.h>

#include "channels/socket_channel.h"
#include "unit/net/net_fixture.h"

namespace godwit::net {
namespace {

using engine::ChannelKind;

std::uint64_t word_at(std::uint64_t index) {
  return index * 0x9e3779b97f4a7c15ULL + (index >> 7);
}

class ChannelTest : public LinkTest {};

INSTANTIATE_TEST_SUITE_P(Links, ChannelTest, kAllLinks, link_name);

TEST_P(ChannelTest, EchoesBetweenTwoLoopsOnTwoThreads) {
  auto pair = make_pair(GetParam(), ChannelKind::kUrgent);
  std::jthread echo([&] {
    auto loop = std::move(*pair.transport->make_loop());
    TestHandler handler;
    std::vector<std::byte> reply;
    handler.received_hook = [&](std::span<const std::byte> bytes) {
      reply.assign(bytes.begin(), bytes.end());
      const auto one = part(reply.data(), reply.size());
      EXPECT_TRUE(pair.target->start_send({&one, 1}));
    };
    EXPECT_TRUE(pair.target->attach(*loop, handler));
    EXPECT_TRUE(run_until(*loop, [&] { return handler.errors == 1; }));
    EXPECT_EQ(handler.error->code, ErrorCode::kClosed);
    pair.target.reset();
  });
  auto loop = std::move(*pair.transport->make_loop());
  TestHandler handler;
  ASSERT_TRUE(pair.source->attach(*loop, handler));
  for (std::size_t round = 1; round <= 200; ++round) {
    const std::uint64_t word = word_at(round);
    const auto one = part(&word, sizeof word);
    std::uint64_t answer = 0;
    handler.received_hook = [&](std::span<const std::byte> bytes) {
      ASSERT_EQ(bytes.size(), sizeof answer);
      std::memcpy(&answer, bytes.data(), bytes.size());
    };
    ASSERT_TRUE(pair.source->start_send({&one, 1}));
    EXPECT_TRUE(pair.source->sending());
    ASSERT_TRUE(
        run_until(*loop, [&] { return handler.received == round * 8 && !pair.source->sending(); }));
    EXPECT_EQ(answer, word);
  }
  EXPECT_EQ(handler.sends, 200);
  EXPECT_EQ(pair.source->bytes_sent(), 1600U);
  EXPECT_EQ(pair.source->bytes_received(), 1600U);
  pair.source.reset();
}

/// Sends `batches` batches of 64 scattered pages; the last word of each page tells its place.
void stream(engine::Channel& channel, EventLoop& loop, std::size_t batches) {
  constexpr std::size_t kPages = 64;
  std::vector<std::uint64_t> words(kPages * kPageBytes / 8);
  std::array<iovec, kPages> parts{};
  std::uint64_t next = 0;
  TestHandler handler;
  const auto send = [&] {
    for (auto& word : words) {
      word = word_at(next++);
    }
    for (std::size_t page = 0; page < kPages; ++page) {
      parts[page] = part(words.data() + page * kPageBytes / 8, kPageBytes);
    }
    EXPECT_TRUE(channel.start_send(parts));
  };
  handler.sent_hook = [&] {
    if (static_cast<std::size_t>(handler.sends) < batches) {
      send();
    }
  };
  EXPECT_TRUE(channel.attach(loop, handler));
  send();
  EXPECT_TRUE(run_until(loop, [&] { return static_cast<std::size_t>(handler.sends) == batches; }));
  EXPECT_EQ(handler.errors, 0);
  // Ends here, before the handler does; what was sent still arrives.
}

TEST_P(ChannelTest, StreamsWithoutLosingOrReorderingAByte) {
  constexpr std::size_t kBatches = 1024;  // 256 MiB
  constexpr std::size_t kBytes = kBatches * 64 * kPageBytes;
  auto pair = make_pair(GetParam(), ChannelKind::kBulk);
  std::jthread source([&] {
    auto loop = std::move(*pair.transport->make_loop());
    stream(*pair.source, *loop, kBatches);
    pair.source.reset();
  });
  auto loop = std::move(*pair.transport->make_loop());
  TestHandler handler(192 * kKiB + 24);
  std::uint64_t at = 0;
  std::uint64_t wrong = 0;
  handler.received_hook = [&](std::span<const std::byte> bytes) {
    for (std::size_t offset = 0; offset < bytes.size();) {
      const auto word = word_at(at / 8);
      const auto inside = at % 8;
      const auto length = std::min<std::size_t>(8 - inside, bytes.size() - offset);
      wrong +=
          std::memcmp(
              reinterpret_cast<const char*>(&word) + inside, bytes.data() + offset, length) != 0
              ? 1
              : 0;
      offset += length;
      at += length;
    }
  };
  ASSERT_TRUE(pair.target->attach(*loop, handler));
  const auto deadline = Deadline::after_ns(90 * kSecondNs);
  while (handler.errors == 0 && !deadline.passed()) {
    ASSERT_TRUE(loop->run_once(deadline));
  }
  EXPECT_EQ(handler.received, kBytes);
  EXPECT_EQ(wrong, 0U);
  ASSERT_EQ(handler.errors, 1);
  EXPECT_EQ(handler.error->code, ErrorCode::kClosed);
  EXPECT_EQ(pair.target->bytes_received(), kBytes);
  pair.target.reset();
}

TEST_P(ChannelTest, SendsAllPartsThroughASlowReader) {
  auto pair = make_pair(GetParam(), ChannelKind::kBulk);
  auto loop = std::move(*pair.transport->make_loop());
  // Far more than the socket holds, in parts of every odd size, some of them empty.
  std::vector<std::byte> data(8 * kMiB);
  for (std::size_t index = 0; index < data.size(); ++index) {
    data[index] = static_cast<std::byte>(index * 31 + (index >> 9));
  }
  std::vector<iovec> parts;
  std::size_t at = 0;
  for (std::size_t index = 0; index + 1 < engine::kMaxSendParts; ++index) {
    const auto bytes = index % 5 == 0 ? 0 : std::min<std::size_t>(data.size() - at, 37 * index + 1);
    parts.push_back(part(data.data() + at, bytes));
    at += bytes;
  }
  parts.push_back(part(data.data() + at, data.size() - at));
  TestHandler handler;
  ASSERT_TRUE(pair.source->attach(*loop, handler));
  ASSERT_TRUE(pair.source->start_send(parts));
  std::vector<std::byte> got(data.size());
  std::span<std::byte> rest(got);
  while (!rest.empty()) {
    ASSERT_TRUE(loop->run_once(Deadline{0}));
    // The channel is not attached: the reader takes a little at a time and the sender stalls in
    // between.
    const auto bytes = std::min<std::size_t>(rest.size(), 40'000);
    auto deadline = Deadline::after_ns(10 * kSecondNs);
    auto chunk = rest.first(bytes);
    Status taken = pair.target->receive_exact(chunk.first(1), deadline);
    ASSERT_TRUE(taken) << taken.error().message();
    for (auto left = chunk.subspan(1); !left.empty();) {
      ASSERT_TRUE(loop->run_once(Deadline{0}));
      const auto step = left.first(std::min<std::size_t>(left.size(), 1000));
      taken = pair.target->receive_exact(step, deadline);
      ASSERT_TRUE(taken) << taken.error().message();
      left = left.subspan(step.size());
    }
    rest = rest.subspan(bytes);
  }
  ASSERT_TRUE(run_until(*loop, [&] { return handler.sends == 1; }));
  EXPECT_TRUE(got == data);
}

TEST_P(ChannelTest, SendsNothingAsOneSend) {
  auto pair = make_pair(GetParam(), ChannelKind::kControl);
  auto loop = std::move(*pair.transport->make_loop());
  TestHandler handler;
  ASSERT_TRUE(pair.source->attach(*loop, handler));
  const auto none = part(nullptr, 0);
  ASSERT_TRUE(pair.source->start_send({&none, 1}));
  EXPECT_TRUE(run_until(*loop, [&] { return handler.sends == 1; }));
}

TEST_P(ChannelTest, RefusesWhatItsContractForbids) {
  auto pair = make_pair(GetParam(), ChannelKind::kControl);
  auto loop = std::move(*pair.transport->make_loop());
  TestHandler handler;
  const auto one = part("x", 1);
  const std::vector<iovec> many(engine::kMaxSendParts + 1, one);
  EXPECT_EQ(pair.source->start_send({&one, 1}).error().code, ErrorCode::kState);
  ASSERT_TRUE(pair.source->attach(*loop, handler));
  EXPECT_EQ(pair.source->attach(*loop, handler).error().code, ErrorCode::kState);
  EXPECT_EQ(pair.source->start_send({}).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(pair.source->start_send(many).error().code, ErrorCode::kInvalidArgument);
  ASSERT_TRUE(pair.source->start_send({&one, 1}));
  EXPECT_EQ(pair.source->start_send({&one, 1}).error().code, ErrorCode::kState);
  std::array<std::byte, 1> byte{};
  EXPECT_EQ(pair.source->receive_exact(byte, Deadline{0}).error().code, ErrorCode::kState);
  EXPECT_EQ(pair.target->receive_exact(byte, Deadline{0}).error().code, ErrorCode::kTimeout);
}

TEST_P(ChannelTest, ReportsAPeerThatClosesMidwayOnce) {
  auto pair = make_pair(GetParam(), ChannelKind::kBulk);
  auto loop = std::move(*pair.transport->make_loop());
  const std::vector<std::byte> data(16 * kMiB);
  TestHandler handler;
  ASSERT_TRUE(pair.source->attach(*loop, handler));
  const auto one = part(data.data(), data.size());
  ASSERT_TRUE(pair.source->start_send({&one, 1}));
  ASSERT_TRUE(loop->run_once(Deadline{0}));
  pair.target.reset();
  ASSERT_TRUE(run_until(*loop, [&] { return handler.errors > 0; }));
  for (int round = 0; round < 5; ++round) {
    ASSERT_TRUE(loop->run_once(Deadline::after_ns(1'000'000)));
  }
  EXPECT_EQ(handler.errors, 1);
  EXPECT_EQ(handler.sends, 0);
  EXPECT_EQ(handler.error->code, ErrorCode::kClosed) << handler.error->message();
  EXPECT_EQ(pair.source->start_send({&one, 1}).error().code, ErrorCode::kClosed);
  EXPECT_FALSE(pair.source->sending());
}

TEST_P(ChannelTest, ReceiveExactTellsAClosedPeer) {
  auto pair = make_pair(GetParam(), ChannelKind::kControl);
  std::array<std::byte, 4> bytes{};
  pair.source.reset();
  const auto status = pair.target->receive_exact(bytes, Deadline::after_ns(5 * kSecondNs));
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, ErrorCode::kClosed);
  EXPECT_EQ(status.error().detail, "the peer closed the connection");
}

TEST_P(ChannelTest, SendExactSendsAllOrTellsWhyNot) {
  auto pair = make_pair(GetParam(), ChannelKind::kBulk);
  const std::vector<std::byte> data(16 * kMiB, std::byte{7});
  std::vector<std::byte> got(4);
  const auto soon = Deadline::after_ns(5 * kSecondNs);
  ASSERT_TRUE(pair.target->send_exact(std::span(data).first(got.size()), soon));
  ASSERT_TRUE(pair.source->receive_exact(got, soon));
  EXPECT_EQ(got, std::vector<std::byte>(4, std::byte{7}));
  EXPECT_EQ(pair.target->bytes_sent(), 4U);
  // More than the sockets hold, and nobody reads.
  EXPECT_EQ(pair.source->send_exact(data, Deadline::after_ns(50'000'000)).error().code,
            ErrorCode::kTimeout);
  pair.target.reset();
  EXPECT_EQ(pair.source->send_exact(data, soon).error().code, ErrorCode::kClosed);
}

TEST_P(ChannelTest, IsShutDownFromAnotherThread) {
  auto pair = make_pair(GetParam(), ChannelKind::kControl);
  auto loop = std::move(*pair.transport->make_loop());
  TestHandler handler;
  ASSERT_TRUE(pair.source->attach(*loop, handler));
  std::jthread other([&] {
    pair.source->shut_down();
    pair.source->shut_down();
  });
  ASSERT_TRUE(run_until(*loop, [&] { return handler.errors > 0; }));
  EXPECT_EQ(handler.errors, 1);
  EXPECT_EQ(handler.error->code, ErrorCode::kClosed);
  EXPECT_EQ(handler.error->detail, "the connection was shut down on this side");
}

TEST_P(ChannelTest, MayBeDestroyedInEachOfItsCallbacks) {
  for (const std::string_view where : {"received", "sent", "error"}) {
    auto pair = make_pair(GetParam(), ChannelKind::kControl);
    auto loop = std::move(*pair.transport->make_loop());
    TestHandler handler;
    TestHandler peer;
    const auto destroy = [&] { pair.source.reset(); };
    if (where == "received") {
      handler.received_hook = [&](std::span<const std::byte>) { destroy(); };
    } else if (where == "sent") {
      handler.sent_hook = destroy;
    } else {
      handler.error_hook = destroy;
    }
    ASSERT_TRUE(pair.source->attach(*loop, handler));
    ASSERT_TRUE(pair.target->attach(*loop, peer));
    const auto one = part("hello", 5);
    if (where == "received") {
      ASSERT_TRUE(pair.target->start_send({&one, 1}));
    } else if (where == "sent") {
      ASSERT_TRUE(pair.source->start_send({&one, 1}));
    } else {
      pair.target.reset();
    }
    ASSERT_TRUE(run_until(*loop, [&] { return pair.source == nullptr; })) << where;
    ASSERT_TRUE(loop->run_once(Deadline{0}));
  }
}

TEST_P(ChannelTest, TouchesNoMemoryAfterItsDestructionWithBothDirectionsPending) {
  auto pair = make_pair(GetParam(), ChannelKind::kBulk);
  auto loop = std::move(*pair.transport->make_loop());
  auto handler = std::make_unique<TestHandler>();
  auto data = std::make_unique<std::vector<std::byte>>(16 * kMiB);
  ASSERT_TRUE(pair.source->attach(*loop, *handler));
  const auto one = part(data->data(), data->size());
  ASSERT_TRUE(pair.source->start_send({&one, 1}));
  ASSERT_TRUE(loop->run_once(Deadline{0}));
  EXPECT_TRUE(pair.source->sending());
  pair.source.reset();
  // The kernel's writes are invisible to the sanitizers, so the freed space is looked at: bytes
  // that the peer sends now must not land there.
  const auto space = handler->receive_space();
  std::fill(space.begin(), space.end(), std::byte{0x5a});
  TestHandler peer;
  ASSERT_TRUE(pair.target->attach(*loop, peer));
  ASSERT_TRUE(pair.target->start_send({&one, 1}));
  ASSERT_TRUE(run_until(*loop, [&] { return peer.errors == 1; }));
  EXPECT_TRUE(std::all_of(
      space.begin(), space.end(), [](std::byte byte) { return byte == std::byte{0x5a}; }));
  EXPECT_EQ(handler->errors + handler->sends, 0);
}

TEST_P(ChannelTest, OutlivesItsLoop) {
  auto pair = make_pair(GetParam(), ChannelKind::kBulk);
  auto loop = std::move(*pair.transport->make_loop());
  const std::vector<std::byte> data(16 * kMiB);
  TestHandler handler;
  ASSERT_TRUE(pair.source->attach(*loop, handler));
  const auto one = part(data.data(), data.size());
  ASSERT_TRUE(pair.source->start_send({&one, 1}));
  ASSERT_TRUE(loop->run_once(Deadline{0}));
  loop.reset();
  EXPECT_EQ(pair.source->start_send({&one, 1}).error().code, ErrorCode::kClosed);
  pair.source->shut_down();
  pair.source.reset();
  EXPECT_EQ(handler.errors, 0);
}

TEST_P(ChannelTest, IsDestroyedByAnotherThreadAfterItsLoopsThreadEnded) {
  for (const bool loop_first : {false, true}) {
    auto pair = make_pair(GetParam(), ChannelKind::kBulk);
    auto loop = std::move(*pair.transport->make_loop());
    const std::vector<std::byte> data(16 * kMiB);
    TestHandler handler;
    // Attached here, run there: only the first run_once() binds the loop to a thread.
    ASSERT_TRUE(pair.source->attach(*loop, handler));
    const auto one = part(data.data(), data.size());
    ASSERT_TRUE(pair.source->start_send({&one, 1}));
    std::jthread([&] { EXPECT_TRUE(loop->run_once(Deadline{0})); }).join();
    if (loop_first) {
      loop.reset();
    }
    pair.source.reset();
    loop.reset();
    EXPECT_EQ(handler.errors, 0);
    std::vector<std::byte> got(data.size() + 1);
    EXPECT_EQ(pair.target->receive_exact(got, Deadline::after_ns(5 * kSecondNs)).error().code,
              ErrorCode::kClosed);
  }
}

/// A channel's own socket, to make its buffers small.
int fd_of(engine::Channel& channel) {
  return dynamic_cast<SocketChannel&>(channel).fd();
}

void shrink_buffers(engine::Channel& channel) {
  // The kernel raises 1 to its least. A receive buffer as small as that would not test us but
  // TCP's timers: a window below a segment opens by a probe every 200 ms.
  const int least = 1;
  const int small = 64 * 1024;
  EXPECT_EQ(::setsockopt(fd_of(channel), SOL_SOCKET, SO_SNDBUF, &least, sizeof least), 0);
  EXPECT_EQ(::setsockopt(fd_of(channel), SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);
}

TEST_P(ChannelTest, StreamsBothWaysAtOnceThroughTinyBuffers) {
  auto pair = make_pair(GetParam(), ChannelKind::kBulk);
  shrink_buffers(*pair.source);
  shrink_buffers(*pair.target);
  std::vector<std::byte> data(3 * kMiB + 5);
  for (std::size_t index = 0; index < data.size(); ++index) {
    data[index] = static_cast<std::byte>(index * 7 + (index >> 11));
  }
  std::vector<iovec> parts;
  for (std::size_t at = 0; at < data.size(); at += 9001) {
    parts.push_back(part(data.data() + at, std::min<std::size_t>(9001, data.size() - at)));
  }
  ASSERT_LE(parts.size(), engine::kMaxSendParts);
  const auto run = [&](engine::Channel& channel) {
    auto loop = std::move(*pair.transport->make_loop());
    TestHandler handler(12345);
    std::vector<std::byte> got;
    handler.received_hook = [&](std::span<const std::byte> bytes) {
      got.insert(got.end(), bytes.begin(), bytes.end());
    };
    EXPECT_TRUE(channel.attach(*loop, handler));
    EXPECT_TRUE(channel.start_send(parts));
    EXPECT_TRUE(run_until(*loop, [&] { return handler.sends == 1 && got.size() >= data.size(); }));
    EXPECT_TRUE(got == data);
    EXPECT_EQ(channel.bytes_sent(), data.size());
    EXPECT_EQ(channel.bytes_received(), data.size());
  };
  std::jthread target([&] { run(*pair.target); });
  run(*pair.source);
  target.join();
}

TEST_P(ChannelTest, DeliversWhatCameBeforeThePeerClosedMidway) {
  auto pair = make_pair(GetParam(), ChannelKind::kControl);
  auto loop = std::move(*pair.transport->make_loop());
  const std::vector<std::byte> half(1000, std::byte{9});
  ASSERT_TRUE(pair.source->send_exact(half, Deadline::after_ns(5 * kSecondNs)));
  pair.source.reset();
  TestHandler handler(64);
  ASSERT_TRUE(pair.target->attach(*loop, handler));
  ASSERT_TRUE(run_until(*loop, [&] { return handler.errors > 0; }));
  EXPECT_EQ(handler.received, half.size());
  EXPECT_EQ(handler.error->code, ErrorCode::kClosed);
  ASSERT_TRUE(loop->run_once(Deadline::after_ns(1'000'000)));
  EXPECT_EQ(handler.errors, 1);
}

TEST_P(ChannelTest, StartsSendsInEachOfItsCallbacks) {
  auto pair = make_pair(GetParam(), ChannelKind::kUrgent);
  auto loop = std::move(*pair.transport->make_loop());
  TestHandler source;
  TestHandler target;
  const std::vector<std::byte> word(8, std::byte{3});
  const auto one = part(word.data(), word.size());
  // The source sends its next from on_sent, the target answers from on_received.
  source.sent_hook = [&] {
    if (source.sends < 100) {
      EXPECT_TRUE(pair.source->start_send({&one, 1}));
    }
  };
  target.received_hook = [&](std::span<const std::byte>) {
    if (!pair.target->sending()) {
      EXPECT_TRUE(pair.target->start_send({&one, 1}));
    }
  };
  ASSERT_TRUE(pair.source->attach(*loop, source));
  ASSERT_TRUE(pair.target->attach(*loop, target));
  ASSERT_TRUE(pair.source->start_send({&one, 1}));
  EXPECT_TRUE(run_until(*loop, [&] {
    return target.received == 800 && source.received >= 8 && !pair.target->sending() &&
           source.received == 8U * static_cast<unsigned>(target.sends);
  }));
  EXPECT_EQ(source.sends, 100);
  EXPECT_EQ(source.errors + target.errors, 0);
}

TEST_P(ChannelTest, CallsBackFromTheLoopOnly) {
  auto pair = make_pair(GetParam(), ChannelKind::kControl);
  auto loop = std::move(*pair.transport->make_loop());
  const std::byte waiting{1};
  ASSERT_TRUE(pair.target->send_exact({&waiting, 1}, Deadline::after_ns(5 * kSecondNs)));
  TestHandler handler;
  ASSERT_TRUE(pair.source->attach(*loop, handler));
  const auto one = part("x", 1);
  ASSERT_TRUE(pair.source->start_send({&one, 1}));
  EXPECT_EQ(handler.sends, 0);
  EXPECT_EQ(handler.received, 0U);
  EXPECT_TRUE(run_until(*loop, [&] { return handler.sends == 1 && handler.received == 1; }));
}

TEST_P(ChannelTest, IsShutDownFromAnotherThreadWhileItStreams) {
  auto pair = make_pair(GetParam(), ChannelKind::kBulk);
  const std::vector<std::byte> data(16 * kMiB);
  const auto one = part(data.data(), data.size());
  auto loop = std::move(*pair.transport->make_loop());
  TestHandler handler;
  ASSERT_TRUE(pair.source->attach(*loop, handler));
  ASSERT_TRUE(pair.source->start_send({&one, 1}));
  std::jthread other([&] {
    // Until it is under way.
    std::vector<std::byte> got(kMiB);
    EXPECT_TRUE(pair.target->receive_exact(got, Deadline::after_ns(10 * kSecondNs)));
    pair.source->shut_down();
  });
  ASSERT_TRUE(run_until(*loop, [&] { return handler.errors > 0; }));
  EXPECT_EQ(handler.error->code, ErrorCode::kClosed);
  EXPECT_EQ(handler.error->detail, "the connection was shut down on this side");
  EXPECT_EQ(handler.sends, 0);
  EXPECT_FALSE(pair.source->sending());
}

TEST_P(ChannelTest, SendsNothingOnceDestroyedBeforeItsLoopRan) {
  auto pair = make_pair(GetParam(), ChannelKind::kControl);
  auto loop = std::move(*pair.transport->make_loop());
  TestHandler handler;
  ASSERT_TRUE(pair.source->attach(*loop, handler));
  auto word = std::make_unique<std::uint64_t>(7);
  const auto one = part(word.get(), sizeof *word);
  ASSERT_TRUE(pair.source->start_send({&one, 1}));
  pair.source.reset();
  word.reset();
  ASSERT_TRUE(loop->run_once(Deadline{0}));
  EXPECT_EQ(handler.sends + handler.errors, 0);
  std::byte byte{};
  EXPECT_EQ(pair.target->receive_exact({&byte, 1}, Deadline::after_ns(5 * kSecondNs)).error().code,
            ErrorCode::kClosed);
}

// Each side chooses for itself.
TEST_P(ChannelTest, TalksToTheOtherKindOfLoop) {
  GODWIT_NEED_URING();
  const auto other = GetParam().loop == LoopKind::kUring ? LoopKind::kPoll : LoopKind::kUring;
  auto pair = make_mixed_pair(other, GetParam(), ChannelKind::kBulk);
  const auto target_transport = transport_to(pair.listener->address(), GetParam().loop);
  constexpr std::size_t kBatches = 16;
  std::jthread source([&] {
    auto loop = std::move(*pair.transport->make_loop());
    stream(*pair.source, *loop, kBatches);
    pair.source.reset();
  });
  auto loop = std::move(*target_transport->make_loop());
  TestHandler handler;
  ASSERT_TRUE(pair.target->attach(*loop, handler));
  ASSERT_TRUE(run_until(*loop, [&] { return handler.errors == 1; }));
  EXPECT_EQ(handler.received, kBatches * 64 * kPageBytes);
}

}  // namespace
}  // namespace godwit::net
