#pragma once

#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include <gtest/gtest.h>

#include "godwit/engine/ports.h"
#include "godwit/net/ring_loop.h"
#include "godwit/net/socket.h"
#include "godwit/net/uring_transport.h"

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

struct ChannelPair {
  std::unique_ptr<engine::Listener> listener;
  std::unique_ptr<engine::Transport> transport;
  std::unique_ptr<engine::Channel> source;
  std::unique_ptr<engine::Channel> target;
};

inline std::unique_ptr<engine::Channel> accept_one(engine::Listener& listener) {
  // On loopback a connection waits as soon as connect() has returned.
  auto accepted = listener.accept();
  EXPECT_TRUE(accepted) << accepted.error().message();
  return accepted ? std::move(*accepted) : nullptr;
}

inline ChannelPair make_pair(engine::ChannelKind kind, TcpOptions options = {}) {
  ChannelPair pair;
  pair.listener = std::move(*listen_tcp({}));
  const auto address = *parse_address(pair.listener->address());
  options.host = address.host;
  options.port = address.port;
  pair.transport = std::move(*make_uring_transport(options));
  auto connected = pair.transport->connect(kind, Deadline::after_ns(5 * kSecondNs));
  EXPECT_TRUE(connected) << connected.error().message();
  pair.source = std::move(*connected);
  pair.target = accept_one(*pair.listener);
  pair.listener->tune(*pair.target, kind);
  return pair;
}

/// Runs `loop` until `done`; gives up after a minute, which only a hang takes.
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
