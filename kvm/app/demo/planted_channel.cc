#include "demo/planted_channel.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <optional>
#include <span>
#include <thread>
#include <utility>

#include "godwit/base/clock.h"
#include "godwit/wire/frame.h"
#include "godwit/wire/page_batch.h"

namespace godwit::app {
namespace {

using engine::Channel;
using engine::ChannelHandler;

/// A channel that does what the one inside does. A subclass changes one thing.
class Forwarding : public Channel, private ChannelHandler {
 public:
  Forwarding(std::unique_ptr<Channel> inside, std::shared_ptr<PlantedCourse> course)
      : inside_(std::move(inside)), course_(std::move(course)) {
    course_->add(inside_.get());
  }
  ~Forwarding() override { course_->remove(inside_.get()); }
  Forwarding(const Forwarding&) = delete;
  Forwarding& operator=(const Forwarding&) = delete;

  Status attach(EventLoop& loop, ChannelHandler& handler) override {
    handler_ = &handler;
    return inside_->attach(loop, *this);
  }
  Status receive_exact(std::span<std::byte> bytes, Deadline deadline) override {
    return inside_->receive_exact(bytes, deadline);
  }
  Status send_exact(std::span<const std::byte> bytes, Deadline deadline) override {
    return inside_->send_exact(bytes, deadline);
  }
  Status start_send(std::span<const iovec> parts) override { return inside_->start_send(parts); }
  [[nodiscard]] bool sending() const override { return inside_->sending(); }
  void shut_down() override {
    ended_.store(true, std::memory_order_release);  // pairs with ended()
    inside_->shut_down();
  }
  [[nodiscard]] std::uint64_t bytes_sent() const override { return inside_->bytes_sent(); }
  [[nodiscard]] std::uint64_t bytes_received() const override { return inside_->bytes_received(); }

 protected:
  virtual void received(std::span<const std::byte> bytes) { pass_on(bytes.size()); }
  virtual void sent() { handler_->on_sent(); }

  void pass_on(std::size_t bytes) { handler_->on_received(bytes); }
  /// The link dies: the session hears of it first from here.
  void cut(const char* why) {
    if (std::exchange(cut_, true)) {
      return;
    }
    handler_->on_error(make_error(ErrorCode::kClosed, "link", why));
    course_->cut();
  }
  [[nodiscard]] bool ended() const { return ended_.load(std::memory_order_acquire); }
  [[nodiscard]] PlantedCourse& course() const { return *course_; }
  Channel& inside() { return *inside_; }

 private:
  std::span<std::byte> receive_space() override { return space_ = handler_->receive_space(); }
  void on_received(std::size_t bytes) override {
    if (!cut_) {
      received(space_.first(bytes));
    }
  }
  void on_sent() override {
    if (!cut_) {
      sent();
    }
  }
  void on_error(const Error& error) override {
    course_->note_over();
    if (!cut_) {
      handler_->on_error(error);
    }
  }

  std::unique_ptr<Channel> inside_;
  std::shared_ptr<PlantedCourse> course_;
  ChannelHandler* handler_ = nullptr;
  std::span<std::byte> space_;
  bool cut_ = false;
  std::atomic<bool> ended_{false};
};

/// flip-bit: sends a copy of every frame with the page before the switch, or of the first one after it,
/// one bit of it changed, behind the back of the checksum.
class FlippingChannel final : public Forwarding {
 public:
  FlippingChannel(std::unique_ptr<Channel> inside,
                  std::shared_ptr<PlantedCourse> course,
                  PageId page)
      : Forwarding(std::move(inside), std::move(course)), page_(page) {}

  Status start_send(std::span<const iovec> parts) override {
    frame_.clear();
    for (const auto& part : parts) {
      const auto* bytes = static_cast<const std::byte*>(part.iov_base);
      frame_.insert(frame_.end(), bytes, bytes + part.iov_len);
    }
    auto* byte = byte_of_page();
    // Before the switch a later copy would mend the first one; after it each page goes once, and once
    // more if it was damaged.
    if (byte == nullptr || (course().saved() && !course().first())) {
      return Forwarding::start_send(parts);
    }
    *byte ^= std::byte{1};
    const iovec whole{frame_.data(), frame_.size()};
    return Forwarding::start_send({&whole, 1});
  }

 private:
  /// A byte of the page in frame_; null when this is no frame with its bytes.
  std::byte* byte_of_page() {
    if (frame_.size() < wire::kHeaderBytes) {
      return nullptr;
    }
    const auto bytes = std::span(frame_);
    const auto header = wire::parse_header(bytes.first<wire::kHeaderBytes>());
    if (!header || header->type != wire::MessageType::kPages) {
      return nullptr;
    }
    const auto batch = wire::decode_page_batch(bytes.subspan(wire::kHeaderBytes));
    if (!batch || batch->region() != page_.region) {
      return nullptr;
    }
    for (std::size_t i = 0; i < batch->runs().size(); ++i) {
      const auto& run = batch->runs()[i];
      if (batch->data(i) != nullptr && page_.index >= run.first &&
          page_.index < run.first + run.count) {
        const auto offset = static_cast<std::size_t>(batch->data(i) - frame_.data());
        return &frame_[offset + (page_.index - run.first) * kPageBytes + kPageBytes / 2];
      }
    }
    return nullptr;
  }

  const PageId page_;
  std::vector<std::byte> frame_;  // unchanged until on_sent()
};

/// fault-delay: what comes after the switch, requests for pages, is heard of later.
class LateChannel final : public Forwarding {
 public:
  LateChannel(std::unique_ptr<Channel> inside,
              std::shared_ptr<PlantedCourse> course,
              std::int64_t delay_ns)
      : Forwarding(std::move(inside), std::move(course)), delay_ns_(delay_ns) {}

 private:
  void received(std::span<const std::byte> bytes) override {
    if (course().saved()) {
      wait();
    }
    pass_on(bytes.size());
  }

  /// The end is waited for awake: a sleep ends some 60 us late, which a measurement of a
  /// millisecond would notice.
  void wait() const {
    constexpr std::int64_t kAwakeNs = 200'000;
    constexpr std::int64_t kSliceNs = 20'000'000;
    const auto end = monotonic_ns() + delay_ns_;
    while (!ended() && !course().over()) {
      const auto left = end - monotonic_ns();
      if (left <= 0) {
        break;
      }
      if (left > kAwakeNs) {
        std::this_thread::sleep_for(std::chrono::nanoseconds(std::min(left - kAwakeNs, kSliceNs)));
      }
    }
  }

  const std::int64_t delay_ns_;
};

/// fault-delay, on the control channel: FINISH, or the loss of the link, ends a delay that still
/// runs, since the session waits for the urgent thread.
class EndWatch final : public Forwarding {
 public:
  using Forwarding::Forwarding;
  Status start_send(std::span<const iovec> parts) override {
    const auto& first = parts.front();
    if (first.iov_len >= wire::kHeaderBytes) {
      const std::span bytes(static_cast<const std::byte*>(first.iov_base), first.iov_len);
      const auto header = wire::parse_header(bytes.first<wire::kHeaderBytes>());
      if (header && header->type == wire::MessageType::kFinish) {
        course().note_over();
      }
    }
    return Forwarding::start_send(parts);
  }
};

/// cut-before-commit and cut-after-commit: the link dies when READY is here, or when COMMIT, which
/// answers it, has left.
class CutChannel final : public Forwarding {
 public:
  CutChannel(std::unique_ptr<Channel> inside,
             std::shared_ptr<PlantedCourse> course,
             bool before_commit)
      : Forwarding(std::move(inside), std::move(course)), before_commit_(before_commit) {}

 private:
  void received(std::span<const std::byte> bytes) override {
    const bool ready = is_ready(bytes);
    if (ready && before_commit_) {
      cut("injected: the link is cut before COMMIT");
      return;
    }
    ready_ = ready_ || ready;
    pass_on(bytes.size());
  }
  void sent() override {
    Forwarding::sent();
    if (ready_) {
      cut("injected: the link is cut after COMMIT");
    }
  }

  /// READY answers the machine's state, so nothing else is received together with it.
  [[nodiscard]] bool is_ready(std::span<const std::byte> bytes) const {
    if (!course().saved() || bytes.size() < wire::kHeaderBytes) {
      return false;
    }
    const auto header = wire::parse_header(bytes.first<wire::kHeaderBytes>());
    return header && header->type == wire::MessageType::kReady;
  }

  const bool before_commit_;
  bool ready_ = false;
};

/// outage: at the first page frame after the switch the link goes down, and stays so for a while.
class OutageChannel final : public Forwarding {
 public:
  OutageChannel(std::unique_ptr<Channel> inside,
                std::shared_ptr<PlantedCourse> course,
                std::int64_t down_ns)
      : Forwarding(std::move(inside), std::move(course)), down_ns_(down_ns) {}

 private:
  void sent() override {
    Forwarding::sent();
    if (course().saved() && course().first()) {
      course().go_down(monotonic_ns() + down_ns_);
      cut("injected: the link is down");
    }
  }
  const std::int64_t down_ns_;
};

}  // namespace

void PlantedCourse::add(Channel* channel) {
  const std::lock_guard lock(mutex_);
  channels_.push_back(channel);
}

void PlantedCourse::remove(Channel* channel) {
  const std::lock_guard lock(mutex_);
  std::erase(channels_, channel);
}

void PlantedCourse::cut() {
  const std::lock_guard lock(mutex_);
  for (auto* channel : channels_) {
    channel->shut_down();
  }
}

std::unique_ptr<Channel> plant_in_channel(std::unique_ptr<Channel> channel,
                                          engine::ChannelKind kind,
                                          const Plant& plant,
                                          std::shared_ptr<PlantedCourse> course) {
  using Kind = engine::ChannelKind;
  switch (plant.fault) {
    case PlantedKind::kFlipBit:
      if (kind != Kind::kControl) {
        return std::make_unique<FlippingChannel>(std::move(channel), std::move(course), plant.page);
      }
      break;
    case PlantedKind::kFaultDelay:
      if (kind == Kind::kUrgent) {
        return std::make_unique<LateChannel>(std::move(channel), std::move(course), plant.delay_ns);
      }
      if (kind == Kind::kControl) {
        return std::make_unique<EndWatch>(std::move(channel), std::move(course));
      }
      break;
    case PlantedKind::kOutage:
      if (kind == Kind::kBulk) {
        return std::make_unique<OutageChannel>(
            std::move(channel), std::move(course), plant.delay_ns);
      }
      return std::make_unique<Forwarding>(std::move(channel), std::move(course));
    case PlantedKind::kCutBeforeCommit:
    case PlantedKind::kCutAfterCommit:
      if (kind == Kind::kControl) {
        return std::make_unique<CutChannel>(
            std::move(channel), std::move(course), plant.fault == PlantedKind::kCutBeforeCommit);
      }
      return std::make_unique<Forwarding>(std::move(channel), std::move(course));
    default:
      break;
  }
  return channel;
}

}  // namespace godwit::app
