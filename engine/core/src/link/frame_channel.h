#pragma once

#include <array>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "godwit/engine/ports/transport.h"
#include "godwit/wire/codec.h"
#include "godwit/wire/frame.h"
#include "godwit/wire/frame_reader.h"

namespace godwit::engine {

/// Bytes received at once on a channel whose frames are small: several arrive in one receive.
inline constexpr std::size_t kReadAhead = 8192;

/// A channel that speaks frames: cuts received bytes into verified frames, queues small frames for
/// sending, and sends page frames gathered from memory. Thread: its loop's.
class FrameChannel : private ChannelHandler {
 public:
  struct Events {
    std::function<Status(const wire::FrameView&)> on_frame;  ///< an error breaks the channel
    std::function<void()> on_sent;                           ///< idle() has become true
    std::function<void(const Error&)> on_error;              ///< once
  };

  /// `first_sequence`: 1 when the peer's first frame was read before the channel came here.
  FrameChannel(std::unique_ptr<Channel> channel,
               std::size_t max_body,
               std::size_t read_ahead,
               std::uint64_t first_sequence = 0);

  /// Before attach() only: sends HELLO at once, so that the peer need not wait until a loop runs.
  Status greet(const wire::Hello& hello, Deadline deadline);
  Status attach(EventLoop& loop, Events events);
  /// Queues a frame; sent in order.
  void send(wire::MessageType type, std::span<const std::byte> body, std::uint32_t flags = 0);
  template <typename Message>
  void send(wire::MessageType type, const Message& message) {
    send(type, std::span<const std::byte>(wire::encode(message)));
  }
  /// Sends one page frame: prefix and page bytes stay unchanged until on_sent. Requires: idle().
  void send_pages(std::span<const iovec> body,
                  std::uint32_t body_length,
                  std::uint64_t body_hash,
                  std::uint32_t flags);
  /// Nothing is queued and nothing is on its way to the socket.
  [[nodiscard]] bool idle() const { return !broken_ && queue_.empty() && !channel_->sending(); }
  [[nodiscard]] bool broken() const { return broken_; }
  /// From here on frames are of the version, features and epoch that `welcome` grants.
  void agree(const wire::Welcome& welcome);
  /// See wire::FrameReader::set_places().
  void set_places(wire::PlaceOfPages place) { reader_.set_places(std::move(place)); }
  Channel& channel() { return *channel_; }

 private:
  std::span<std::byte> receive_space() override;
  void on_received(std::size_t bytes) override;
  void on_sent() override;
  void on_error(const Error& error) override;
  void start_next();

  wire::FrameReader reader_;
  wire::FrameWriter writer_;
  Events events_;
  std::deque<std::vector<std::byte>> queue_;  // front is on its way when queued_sending_
  bool queued_sending_ = false;
  bool broken_ = false;
  // What still arrives after a break, until the channel ends.
  std::array<std::byte, wire::kHeaderBytes> scratch_{};
  wire::FrameHeader gather_header_{};
  std::vector<iovec> gather_;
  // Last, so that it ends first: it reads what it sends from the members above.
  std::unique_ptr<Channel> channel_;
};

}  // namespace godwit::engine
