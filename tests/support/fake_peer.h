#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "godwit/base/fd.h"
#include "godwit/wire/codec.h"
#include "godwit/wire/frame.h"
#include "godwit/wire/frame_reader.h"

// Peers that speak the real frames, as far as they want to.

namespace godwit::test {

/// One connection with frames over it.
class Line {
 public:
  explicit Line(int fd) : fd_(fd), reader_(wire::kMaxStateBody, wire::kHeaderBytes) {}

  struct Frame {
    wire::MessageType type{};
    std::vector<std::byte> body;
  };
  /// Nothing once the peer has closed, or has sent what is no frame.
  std::optional<Frame> receive();
  /// Skips frames until one of `type`.
  std::optional<Frame> await(wire::MessageType type);
  void raw(std::span<const std::byte> bytes) const;
  void text(std::string_view bytes) const { raw(std::as_bytes(std::span(bytes))); }
  template <typename Message>
  void send(wire::MessageType type, const Message& message) {
    raw(frame(type, message));
  }
  /// A frame that counts as sent, to be damaged by the caller.
  template <typename Message>
  std::vector<std::byte> frame(wire::MessageType type, const Message& message) {
    return writer_.frame(type, wire::encode(message));
  }
  std::vector<std::byte> frame_of(wire::MessageType type, std::span<const std::byte> body) {
    return writer_.frame(type, body);
  }
  void close() const;
  wire::FrameWriter& writer() { return writer_; }

 private:
  int fd_;
  wire::FrameReader reader_;
  wire::FrameWriter writer_;
};

/// Damages one byte of a frame that was sealed: of its header, or of its body.
std::vector<std::byte> damaged(std::vector<std::byte> frame, std::size_t at);
/// A header that promises more than any message may have.
std::vector<std::byte> oversized(wire::MessageType type);
/// The body of a PAGES frame with `count` pages of data from `first` on.
std::vector<std::byte> pages_body(std::uint32_t region,
                                  std::uint64_t first,
                                  std::uint32_t count = 1);

/// The three connections of a migration.
struct Lines {
  Line control, bulk, urgent;
};

/// A target that follows a script and keeps its connections until the end.
class FakeTarget {
 public:
  using Script = std::function<void(FakeTarget&)>;

  explicit FakeTarget(Script script);
  FakeTarget(const FakeTarget&) = delete;
  FakeTarget& operator=(const FakeTarget&) = delete;
  ~FakeTarget();
  [[nodiscard]] std::string address() const { return "tcp:127.0.0.1:" + std::to_string(port_); }

  /// The next connection.
  Line accept();
  void stop_listening();

  static wire::Welcome welcome();
  /// The control connection up to WELCOME.
  Line negotiate();
  /// A page connection up to WELCOME.
  Line page_channel() { return negotiate(); }
  /// The source waits for ACCEPT.
  Line asked();
  Line described();
  /// Up to the first page.
  Lines opened();
  /// The first frame of pre-copy has come.
  Lines receiving();
  /// All pages are taken and the barrier is acknowledged.
  Lines switched();

 private:
  Fd listener_;
  std::uint16_t port_ = 0;
  std::mutex mutex_;
  std::list<Fd> connections_;  ///< guarded by mutex_
  std::jthread thread_;
};

/// A source that does what it wants: its connections to a target.
class FakeSource {
 public:
  explicit FakeSource(std::uint16_t port) : port_(port) {}

  Line connect();
  [[nodiscard]] wire::Hello hello(wire::ChannelKind kind = wire::ChannelKind::kControl) const;
  /// A control connection that the target has welcomed.
  Line negotiate();
  Line page_channel(wire::ChannelKind kind);
  /// Up to ACCEPT.
  Line described(const wire::Describe& describe);
  /// Up to the first page.
  Lines opened(const wire::Describe& describe);

 private:
  std::uint16_t port_;
  wire::Welcome welcome_;
  std::list<Fd> connections_;
};

}  // namespace godwit::test
