#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <list>
#include <mutex>
#include <optional>
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
  std::optional<Frame> receive() {
    while (true) {
      const auto space = reader_.exact_space();
      if (::recv(fd_, space.data(), space.size(), MSG_WAITALL) !=
          static_cast<ssize_t>(space.size())) {
        return std::nullopt;
      }
      reader_.commit(space.size());
      auto frame = reader_.next();
      if (!frame) {
        return std::nullopt;
      }
      if (*frame) {
        const auto body = (*frame)->body;
        return Frame{(*frame)->header.type, {body.begin(), body.end()}};
      }
    }
  }
  /// Skips frames until one of `type`.
  std::optional<Frame> await(wire::MessageType type) {
    auto frame = receive();
    while (frame && frame->type != type) {
      frame = receive();
    }
    return frame;
  }
  void raw(std::span<const std::byte> bytes) const {
    [[maybe_unused]] const auto sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  }
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
  void close() const { ::shutdown(fd_, SHUT_RDWR); }
  wire::FrameWriter& writer() { return writer_; }

 private:
  int fd_;
  wire::FrameReader reader_;
  wire::FrameWriter writer_;
};

/// Damages one byte of a frame that was sealed: of its header, or of its body.
inline std::vector<std::byte> damaged(std::vector<std::byte> frame, std::size_t at) {
  frame.at(at) ^= std::byte{0x10};
  return frame;
}

/// A header that promises more than any message may have.
inline std::vector<std::byte> oversized(wire::MessageType type) {
  wire::FrameHeader header;
  header.type = type;
  header.epoch = 1;
  header.body_length = UINT32_MAX;
  wire::seal_header(header);
  const auto bytes = wire::header_bytes(header);
  return {bytes.begin(), bytes.end()};
}

/// The body of a PAGES frame with `count` pages of data from `first` on.
inline std::vector<std::byte> pages_body(std::uint32_t region,
                                         std::uint64_t first,
                                         std::uint32_t count = 1) {
  wire::PageBatchHeader header;
  header.region = region;
  header.phase = wire::PagePhase::kPrecopy;
  header.run_count = 1;
  header.data_pages = count;
  wire::PageBatchRunWire run;
  run.first = first;
  run.count = count;
  run.kind = wire::PageKind::kData;
  std::vector<std::byte> body(wire::page_prefix_bytes(1) + count * kPageBytes, std::byte{7});
  std::fill_n(body.begin(), wire::page_prefix_bytes(1), std::byte{0});
  std::memcpy(body.data(), &header, sizeof header);
  std::memcpy(body.data() + sizeof header, &run, sizeof run);
  return body;
}

/// The three connections of a migration.
struct Lines {
  Line control, bulk, urgent;
};

/// A target that follows a script and keeps its connections until the end.
class FakeTarget {
 public:
  using Script = std::function<void(FakeTarget&)>;

  explicit FakeTarget(Script script) : listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    if (::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 &&
        ::listen(listener_.get(), 8) == 0) {
      ::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &length);
      port_ = ntohs(address.sin_port);
    }
    thread_ = std::jthread([this, script = std::move(script)] { script(*this); });
  }
  FakeTarget(const FakeTarget&) = delete;
  FakeTarget& operator=(const FakeTarget&) = delete;
  ~FakeTarget() {
    ::shutdown(listener_.get(), SHUT_RDWR);
    const std::lock_guard lock(mutex_);
    for (const auto& fd : connections_) {
      ::shutdown(fd.get(), SHUT_RDWR);
    }
  }
  [[nodiscard]] std::string address() const { return "tcp:127.0.0.1:" + std::to_string(port_); }

  /// The next connection.
  Line accept() {
    Fd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    const std::lock_guard lock(mutex_);
    return Line(connections_.emplace_back(std::move(fd)).get());
  }
  void stop_listening() { ::shutdown(listener_.get(), SHUT_RDWR); }

  static wire::Welcome welcome() {
    wire::Welcome welcome;
    welcome.version = wire::kProtocolVersion;
    welcome.features = wire::kFeatureBodyHash | wire::kFeatureZeroRuns | wire::kFeaturePostcopy;
    welcome.session_id[0] = std::byte{1};
    welcome.session_epoch = 1;
    return welcome;
  }
  /// The control connection up to WELCOME.
  Line negotiate() {
    auto control = accept();
    control.await(wire::MessageType::kHello);
    control.send(wire::MessageType::kWelcome, welcome());
    control.writer().set_epoch(1);
    return control;
  }
  /// A page connection up to WELCOME.
  Line page_channel() { return negotiate(); }
  /// The source waits for ACCEPT.
  Line asked() {
    auto control = negotiate();
    control.await(wire::MessageType::kDescribe);
    return control;
  }
  Line described() {
    auto control = asked();
    control.send(wire::MessageType::kAccept, wire::Accept{0, false, "alias"});
    return control;
  }
  /// Up to the first page.
  Lines opened() {
    auto control = described();
    auto bulk = page_channel();
    auto urgent = page_channel();
    return {std::move(control), std::move(bulk), std::move(urgent)};
  }
  /// The first frame of pre-copy has come.
  Lines receiving() {
    auto lines = opened();
    lines.bulk.receive();
    return lines;
  }
  /// All pages are taken and the barrier is acknowledged.
  Lines switched() {
    auto lines = opened();
    lines.bulk.await(wire::MessageType::kBarrier);
    lines.bulk.send(wire::MessageType::kBarrierAck, wire::BarrierAck{1});
    return lines;
  }

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

  Line connect() {
    Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port_);
    [[maybe_unused]] const int connected =
        ::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address);
    return Line(connections_.emplace_back(std::move(fd)).get());
  }
  [[nodiscard]] wire::Hello hello(wire::ChannelKind kind = wire::ChannelKind::kControl) const {
    wire::Hello hello;
    hello.versions_offered = {wire::kProtocolVersion};
    hello.features_offered =
        wire::kFeatureBodyHash | wire::kFeatureZeroRuns | wire::kFeaturePostcopy;
    hello.session_id = welcome_.session_id;
    hello.session_epoch = welcome_.session_epoch;
    hello.channel_kind = kind;
    return hello;
  }
  /// A control connection that the target has welcomed.
  Line negotiate() {
    auto control = connect();
    control.send(wire::MessageType::kHello, hello());
    if (const auto answer = control.await(wire::MessageType::kWelcome)) {
      welcome_ = *wire::decode_welcome(answer->body);
    }
    control.writer().set_epoch(welcome_.session_epoch);
    return control;
  }
  Line page_channel(wire::ChannelKind kind) {
    auto line = connect();
    line.send(wire::MessageType::kHello, hello(kind));
    line.writer().set_epoch(welcome_.session_epoch);
    line.await(wire::MessageType::kWelcome);
    return line;
  }
  /// Up to ACCEPT.
  Line described(const wire::Describe& describe) {
    auto control = negotiate();
    control.send(wire::MessageType::kDescribe, describe);
    control.await(wire::MessageType::kAccept);
    return control;
  }
  /// Up to the first page.
  Lines opened(const wire::Describe& describe) {
    auto control = described(describe);
    auto bulk = page_channel(wire::ChannelKind::kBulk);
    auto urgent = page_channel(wire::ChannelKind::kUrgent);
    return {std::move(control), std::move(bulk), std::move(urgent)};
  }

 private:
  std::uint16_t port_;
  wire::Welcome welcome_;
  std::list<Fd> connections_;
};

}  // namespace godwit::test
