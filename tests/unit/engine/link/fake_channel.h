#pragma once

#include <algorithm>
#include <optional>
#include <span>
#include <vector>

#include "godwit/base/event_loop.h"
#include "godwit/engine/ports/transport.h"
#include "godwit/wire/frame_reader.h"

namespace godwit::engine {

/// A loop in which nothing ever happens by itself.
class IdleLoop : public EventLoop {
 public:
  Status watch(int /*fd*/, std::function<void()> /*on_readable*/) override { return {}; }
  void unwatch(int /*fd*/) override {}
  Status run_once(Deadline /*deadline*/) override { return {}; }
  void wake() override {}
};

/// A connection whose other end is the test.
class FakeChannel : public Channel {
 public:
  struct Frame {
    wire::FrameHeader header;
    std::vector<std::byte> body;
  };

  Status attach(EventLoop& /*loop*/, ChannelHandler& handler) override {
    handler_ = &handler;
    return {};
  }
  Status receive_exact(std::span<std::byte> bytes, Deadline /*deadline*/) override {
    if (incoming_.size() < bytes.size()) {
      return fail(ErrorCode::kTimeout, "receive");
    }
    std::copy_n(incoming_.begin(), bytes.size(), bytes.begin());
    incoming_.erase(incoming_.begin(),
                    incoming_.begin() + static_cast<std::ptrdiff_t>(bytes.size()));
    return {};
  }
  Status send_exact(std::span<const std::byte> bytes, Deadline /*deadline*/) override {
    outgoing_.insert(outgoing_.end(), bytes.begin(), bytes.end());
    return {};
  }
  Status start_send(std::span<const iovec> parts) override {
    for (const auto& part : parts) {
      const auto* bytes = static_cast<const std::byte*>(part.iov_base);
      outgoing_.insert(outgoing_.end(), bytes, bytes + part.iov_len);
    }
    sending_ = true;
    return {};
  }
  [[nodiscard]] bool sending() const override { return sending_; }
  void shut_down() override { shut_down_ = true; }
  [[nodiscard]] std::uint64_t bytes_sent() const override { return 0; }
  [[nodiscard]] std::uint64_t bytes_received() const override { return 0; }

  /// The socket takes all that waits.
  void take_all() {
    while (std::exchange(sending_, false)) {
      handler_->on_sent();
    }
  }
  /// What the peer sends.
  void arrive(std::span<const std::byte> bytes) {
    incoming_.insert(incoming_.end(), bytes.begin(), bytes.end());
  }
  /// The frames that the peer received.
  [[nodiscard]] std::vector<Frame> frames() const {
    std::vector<Frame> frames;
    wire::FrameReader reader(wire::kMaxStateBody, wire::kHeaderBytes);
    for (std::size_t at = 0; at < outgoing_.size();) {
      const auto space = reader.space();
      const auto count = std::min(space.size(), outgoing_.size() - at);
      std::copy_n(outgoing_.begin() + static_cast<std::ptrdiff_t>(at), count, space.begin());
      reader.commit(count);
      at += count;
      const auto frame = reader.next();
      if (!frame) {
        return frames;
      }
      if (*frame) {
        frames.push_back({(*frame)->header, {(*frame)->body.begin(), (*frame)->body.end()}});
      }
    }
    return frames;
  }
  [[nodiscard]] bool is_shut_down() const { return shut_down_; }

 private:
  ChannelHandler* handler_ = nullptr;
  std::vector<std::byte> incoming_;
  std::vector<std::byte> outgoing_;
  bool sending_ = false;
  bool shut_down_ = false;
};

}  // namespace godwit::engine
