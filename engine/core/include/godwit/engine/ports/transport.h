#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "godwit/base/event_loop.h"
#include "godwit/base/result.h"
#include "godwit/wire/format.h"

/// Ports: connections between the two sides.
namespace godwit::engine {

/// Receives what happens on a channel. Called from EventLoop::run_once() of the channel's loop
/// only.
class ChannelHandler {
 public:
  virtual ~ChannelHandler() = default;
  /// Where the next bytes go; must stay valid until on_received(). Never empty.
  virtual std::span<std::byte> receive_space() = 0;
  /// `bytes` of the last receive_space() were filled (1 .. its size).
  virtual void on_received(std::size_t bytes) = 0;
  /// The bytes of the last start_send() were all handed to the socket.
  virtual void on_sent() = 0;
  /// The channel is dead; called once. kClosed: the peer closed. No more calls follow.
  virtual void on_error(const Error& error) = 0;
};

/// One connection. Thread: its loop's, except shut_down().
class Channel {
 public:
  virtual ~Channel() = default;
  /// Joins `loop` and starts receiving into `handler`. Once. Requires: `loop` came from the same
  /// Transport.
  virtual Status attach(EventLoop& loop, ChannelHandler& handler) = 0;
  /// Before attach() only: fills all of `bytes`, waiting until `deadline`. For a connection's first
  /// frame, which says which thread the channel belongs to. Errors: kTimeout, kClosed.
  virtual Status receive_exact(std::span<std::byte> bytes, Deadline deadline) = 0;
  /// Before attach() only: sends all of `bytes`, waiting until `deadline`. For the answer to a
  /// stranger.
  virtual Status send_exact(std::span<const std::byte> bytes, Deadline deadline) = 0;
  /// Starts sending all bytes of `parts` (the iovecs are copied, the bytes are not: they stay
  /// unchanged until on_sent()). Requires: !sending(). At most kMaxSendParts parts.
  virtual Status start_send(std::span<const iovec> parts) = 0;
  [[nodiscard]] virtual bool sending() const = 0;
  /// Breaks the connection: both directions end, pending operations fail. Thread: any. Idempotent.
  virtual void shut_down() = 0;
  /// Bytes handed to / taken from the socket so far. Thread: any.
  [[nodiscard]] virtual std::uint64_t bytes_sent() const = 0;
  [[nodiscard]] virtual std::uint64_t bytes_received() const = 0;
};

inline constexpr std::size_t kMaxSendParts = 512;

/// What a connection is for: its socket options follow from it.
using ChannelKind = wire::ChannelKind;

/// Makes loops and outgoing connections.
class Transport {
 public:
  virtual ~Transport() = default;
  virtual Result<std::unique_ptr<EventLoop>> make_loop() = 0;
  /// Connects to the peer (an address the transport was made with). Thread: any. Sets buffers and
  /// congestion control as the kind asks: bulk bounds its bytes in flight, urgent and control send
  /// at once.
  virtual Result<std::unique_ptr<Channel>> connect(ChannelKind kind, Deadline deadline) = 0;
  /// Ends connect(), under way or to come, with kCancelled; where a transport cannot interrupt one
  /// (net: a Unix listener without room), at its deadline. Thread: any; does not wait for it.
  virtual void interrupt() = 0;
  [[nodiscard]] virtual std::string name() const = 0;  ///< "uring" or "poll"
  /// In use, after the first connect; "none" where the transport has no such thing.
  [[nodiscard]] virtual std::string congestion() const = 0;
};

/// Takes incoming connections. The kind is known only after the first frame; tune() applies its
/// socket options.
class Listener {
 public:
  virtual ~Listener() = default;
  /// The bound address as tcp:HOST:PORT or unix:PATH.
  [[nodiscard]] virtual std::string address() const = 0;
  [[nodiscard]] virtual int fd() const = 0;  ///< readable when a connection waits
  /// Accepts one connection if one waits; null if none does. Never blocks.
  virtual Result<std::unique_ptr<Channel>> accept() = 0;
  virtual void tune(Channel& channel, ChannelKind kind) = 0;
};

}  // namespace godwit::engine
