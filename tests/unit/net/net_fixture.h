#pragma once

#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "godwit/engine/ports/transport.h"
#include "godwit/net/ring_loop.h"
#include "godwit/net/socket.h"
#include "godwit/net/transport.h"

#include "support/require.h"

namespace godwit::net {

inline constexpr std::int64_t kSecondNs = 1'000'000'000;

/// A handler made of functions; those not set only count.
class TestHandler final : public engine::ChannelHandler {
 public:
  explicit TestHandler(std::size_t space = 64 * kKiB) : space_(space) {}
  std::span<std::byte> receive_space() override { return space_; }
  void on_received(std::size_t bytes) override {
    received += bytes;
    if (received_hook) {
      received_hook(std::span<const std::byte>(space_).first(bytes));
    }
  }
  void on_sent() override {
    ++sends;
    if (sent_hook) {
      sent_hook();
    }
  }
  void on_error(const Error& given) override {
    ++errors;
    error = given;
    if (error_hook) {
      error_hook();
    }
  }

  std::function<void(std::span<const std::byte>)> received_hook;
  std::function<void()> sent_hook;
  std::function<void()> error_hook;
  std::size_t received = 0;
  int sends = 0;
  int errors = 0;
  std::optional<Error> error;

 private:
  std::vector<std::byte> space_;
};

/// Skips a test where io_uring cannot be used, and says why; fails instead where GODWIT_REQUIRE
/// asks for it.
#define GODWIT_NEED_URING()                                          \
  do {                                                               \
    if (const auto usable = ::godwit::net::probe_uring(); !usable) { \
      GODWIT_MISSING("uring", usable.error().message());             \
    }                                                                \
  } while (false)

enum class Family { kTcp, kUnix };

/// What a test runs on: who waits for the sockets, and what they are.
struct Link {
  LoopKind loop = LoopKind::kUring;
  Family family = Family::kTcp;
};

/// A suite whose tests run on every link.
class LinkTest : public testing::TestWithParam<Link> {
 protected:
  void SetUp() override {
    if (GetParam().loop == LoopKind::kUring) {
      GODWIT_NEED_URING();
    }
  }
};

inline std::string link_name(const testing::TestParamInfo<Link>& tested) {
  return std::string(loop_name(tested.param.loop)) +
         (tested.param.family == Family::kTcp ? "_tcp" : "_unix");
}

inline const auto kAllLinks = testing::Values(Link{LoopKind::kUring, Family::kTcp},
                                              Link{LoopKind::kUring, Family::kUnix},
                                              Link{LoopKind::kPoll, Family::kTcp},
                                              Link{LoopKind::kPoll, Family::kUnix});

/// A path that no other test uses, and that fits into a socket's address.
inline std::string unused_path() {
  static int count = 0;
  return "/tmp/godwit-net-test-" + std::to_string(::getpid()) + "-" + std::to_string(++count);
}

inline Address unused_address(Family family) {
  return family == Family::kTcp ? Address{.host = "127.0.0.1"} : Address{.path = unused_path()};
}

struct ChannelPair {
  std::unique_ptr<engine::Listener> listener;
  std::unique_ptr<engine::Transport> transport;
  std::unique_ptr<engine::Channel> source;
  std::unique_ptr<engine::Channel> target;
};

inline std::unique_ptr<engine::Listener> listen_at(const Link& link) {
  auto listener = make_listener(link.loop, {.at = unused_address(link.family)});
  EXPECT_TRUE(listener) << listener.error().message();
  return std::move(*listener);
}

inline std::unique_ptr<engine::Transport> transport_to(const std::string& endpoint,
                                                       LoopKind loop,
                                                       TransportOptions options = {}) {
  options.peer = *parse_endpoint(endpoint);
  auto transport = make_transport(loop, std::move(options));
  EXPECT_TRUE(transport) << transport.error().message();
  return std::move(*transport);
}

inline std::unique_ptr<engine::Channel> connect_one(engine::Transport& transport,
                                                    engine::ChannelKind kind) {
  auto connected = transport.connect(kind, Deadline::after_ns(5 * kSecondNs));
  EXPECT_TRUE(connected) << connected.error().message();
  return connected ? std::move(*connected) : nullptr;
}

inline std::unique_ptr<engine::Channel> accept_one(engine::Listener& listener) {
  // On this host a connection waits as soon as connect() has returned.
  auto accepted = listener.accept();
  EXPECT_TRUE(accepted) << accepted.error().message();
  return accepted ? std::move(*accepted) : nullptr;
}

/// `source_loop` waits for the source's socket, `link.loop` for the target's.
inline ChannelPair make_mixed_pair(LoopKind source_loop,
                                   const Link& link,
                                   engine::ChannelKind kind,
                                   TransportOptions options = {}) {
  ChannelPair pair;
  pair.listener = listen_at(link);
  pair.transport = transport_to(pair.listener->address(), source_loop, std::move(options));
  pair.source = connect_one(*pair.transport, kind);
  pair.target = accept_one(*pair.listener);
  pair.listener->tune(*pair.target, kind);
  return pair;
}

inline ChannelPair make_pair(const Link& link,
                             engine::ChannelKind kind,
                             TransportOptions options = {}) {
  return make_mixed_pair(link.loop, link, kind, std::move(options));
}

/// Runs `loop` until `done`, or a minute: long, for sanitizers on a busy machine.
inline bool run_until(EventLoop& loop, const std::function<bool()>& done) {
  const auto deadline = Deadline::after_ns(60 * kSecondNs);
  while (!done()) {
    if (deadline.passed()) {
      return false;
    }
    const auto status = loop.run_once(deadline);
    EXPECT_TRUE(status) << status.error().message();
    if (!status) {
      return false;
    }
  }
  return true;
}

inline iovec part(const void* data, std::size_t bytes) {
  return {const_cast<void*>(data), bytes};
}

}  // namespace godwit::net
