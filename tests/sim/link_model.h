#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "world.h"

namespace godwit::sim {

enum class MessageKind : std::uint8_t {
  kHello,
  kWelcome,
  kDescribe,
  kAccept,
  kRefuse,
  kPages,
  kStale,
  kBarrier,
  kBarrierAck,
  kFinalSync,
  kState,
  kReady,
  kCommit,
  kRunning,
  kPageRequest,
  kBackgroundEnd,
  kComplete,
  kFinish,
  kCancel,
  kCancelAck,
  kAbort,
  kMissing,  ///< all runs at once, with count and hash
  kEnd,      ///< the peer closed the connection
};

enum class Phase : std::uint8_t { kPrecopy, kBackground, kUrgent };
enum class ChannelName : std::uint8_t { kControl, kUrgent, kBulk0, kBulk1, kBulk2, kBulk3 };
inline constexpr std::array kChannels = {ChannelName::kControl,
                                         ChannelName::kUrgent,
                                         ChannelName::kBulk0,
                                         ChannelName::kBulk1,
                                         ChannelName::kBulk2,
                                         ChannelName::kBulk3};
inline constexpr std::uint32_t kMostBulkChannels = 4;
constexpr ChannelName bulk(std::uint32_t index) {
  return static_cast<ChannelName>(static_cast<std::uint32_t>(ChannelName::kBulk0) + index);
}
constexpr bool is_bulk(ChannelName channel) {
  return channel >= ChannelName::kBulk0;
}

struct Message {
  MessageKind kind = MessageKind::kHello;
  Phase phase = Phase::kPrecopy;
  std::vector<std::pair<PageId, std::uint32_t>> pages{};  ///< with their content
  std::vector<PageRun> runs{};
  std::uint64_t count = 0;
  std::uint64_t hash = 0;
  [[nodiscard]] std::uint64_t bytes() const {
    return 64 + pages.size() * kPageBytes + runs.size() * 24;
  }
};

struct LinkOptions {
  Ns latency = 0;
  Ns jitter = 0;
  Ns ns_per_page = 1000;  ///< from its first byte to its last, at the reader
  std::uint64_t buffer_bytes = 256 * kKiB;
};

/// One direction of one channel: a byte stream in order, with a bounded socket buffer, that can
/// stall or be cut.
class Stream {
 public:
  /// `begin` sees a message when its first byte is read and says how long reading takes; `end` when
  /// all is there.
  struct Receiver {
    std::function<Ns(const Message&)> begin;
    std::function<void(const Message&)> end;
  };
  Stream(World& world, LinkOptions options) : world_(world), options_(options) {}

  void connect(Receiver receiver) { receiver_ = std::move(receiver); }
  /// `handed` runs when all bytes are in the socket, which may be at once.
  void send(Message message, std::function<void()> handed = {}) {
    if (sender_closed_) {
      return;
    }
    outbox_.emplace_back(std::move(message), std::move(handed));
    pump();
  }
  /// What is on the wire and everything after it is lost. Bytes that arrived can still be read.
  void cut() { cut_ = true; }
  void stall(Ns duration) { stalled_until_ = world_.time.now() + duration; }
  /// The sender closes: what was sent arrives, then the end.
  void close_sender() {
    send({MessageKind::kEnd});
    sender_closed_ = true;
  }
  void close_receiver() { receiver_closed_ = true; }

 private:
  void pump() {
    // Re-entrant: a `handed` may send again.
    while (!outbox_.empty()) {
      const auto bytes = outbox_.front().first.bytes();
      if (buffered_ != 0 && buffered_ + bytes > options_.buffer_bytes) {
        return;
      }
      buffered_ += bytes;
      auto [message, handed] = std::move(outbox_.front());
      outbox_.pop_front();
      put_on_wire(std::move(message));
      if (handed) {
        handed();
      }
    }
  }
  void put_on_wire(Message message) {
    const auto now = world_.time.now();
    auto arrival = now + options_.latency + world_.between(0, options_.jitter);
    arrival = std::max({arrival, last_arrival_, stalled_until_});
    last_arrival_ = arrival;
    world_.time.after(arrival - now, [this, moved = std::move(message)]() mutable {
      if (cut_) {
        return;
      }
      inbox_.push_back(std::move(moved));
      read_next();
    });
  }
  void read_next() {
    if (reading_ || inbox_.empty() || receiver_closed_) {
      return;
    }
    reading_ = true;
    const auto duration = receiver_.begin(inbox_.front());
    world_.time.after(duration, [this] {
      const auto message = std::move(inbox_.front());
      inbox_.pop_front();
      reading_ = false;
      if (!receiver_closed_) {
        receiver_.end(message);
      }
      buffered_ -= cut_ ? 0 : message.bytes();
      pump();
      read_next();
    });
  }

  World& world_;
  LinkOptions options_;
  Receiver receiver_;
  std::deque<std::pair<Message, std::function<void()>>> outbox_;
  std::deque<Message> inbox_;
  std::uint64_t buffered_ = 0;
  Ns last_arrival_ = 0;
  Ns stalled_until_ = 0;
  bool reading_ = false;
  bool cut_ = false;
  bool sender_closed_ = false;
  bool receiver_closed_ = false;
};

/// The channels between source and target. A link that is lost may be followed by another one; what
/// is still on its way on an older one is heard until its receiver closes it.
class LinkModel {
 public:
  using Hear = std::function<Stream::Receiver(unsigned link, ChannelName channel)>;

  LinkModel(World& world, LinkOptions options) : world_(world), options_(options) { renew(); }

  /// Who hears what arrives, on this link and on those to come.
  void hear_at_target(Hear hear) {
    at_target_ = std::move(hear);
    for (const auto channel : kChannels) {
      to_target(channel, 0).connect(at_target_(0, channel));
    }
  }
  void hear_at_source(Hear hear) {
    at_source_ = std::move(hear);
    for (const auto channel : kChannels) {
      to_source(channel, 0).connect(at_source_(0, channel));
    }
  }

  /// The source connects once more; returns the number of the new link.
  unsigned renew() {
    links_.push_back(std::make_unique<Link>(world_, options_));
    const auto number = newest();
    for (const auto channel : kChannels) {
      if (at_target_) {
        to_target(channel, number).connect(at_target_(number, channel));
      }
      if (at_source_) {
        to_source(channel, number).connect(at_source_(number, channel));
      }
    }
    return number;
  }
  [[nodiscard]] unsigned newest() const { return static_cast<unsigned>(links_.size() - 1); }

  /// Until then nobody is reached.
  void go_down(Ns until) { down_until_ = until; }
  [[nodiscard]] bool is_down() const { return world_.time.now() < down_until_; }

  Stream& to_target(ChannelName channel, unsigned link) {
    return links_[link]->to_target[static_cast<std::size_t>(channel)];
  }
  Stream& to_source(ChannelName channel, unsigned link) {
    return links_[link]->to_source[static_cast<std::size_t>(channel)];
  }

 private:
  struct Link {
    Link(World& world, LinkOptions options)
        : to_target(kChannels.size(), Stream(world, options)),
          to_source(kChannels.size(), Stream(world, options)) {}
    std::vector<Stream> to_target;
    std::vector<Stream> to_source;
  };

  World& world_;
  const LinkOptions options_;
  std::vector<std::unique_ptr<Link>> links_;  // old ones stay: their bytes are still on the way
  Hear at_target_;
  Hear at_source_;
  Ns down_until_ = 0;
};

}  // namespace godwit::sim
