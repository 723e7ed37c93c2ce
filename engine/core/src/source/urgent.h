#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <thread>

#include "link/frame_channel.h"
#include "source/batch_builder.h"
#include "source/notes.h"
#include "source/plane.h"

namespace godwit::engine {

/// The source's urgent loop: receives page requests, claims the page, sends it from guest memory;
/// one thread, so that no hop lies on the way of a page that somebody waits for. Thread: start and
/// stop from the migration thread; everything else inside its own.
class SourceUrgent {
 public:
  SourceUrgent(SourcePlane& plane,
               Transport& transport,
               std::unique_ptr<Channel> channel,
               wire::Hello hello,
               SourceNotes notes);
  ~SourceUrgent() { stop(); }
  SourceUrgent(const SourceUrgent&) = delete;
  SourceUrgent& operator=(const SourceUrgent&) = delete;
  Status start();
  void stop();
  /// The target has answered.
  [[nodiscard]] bool is_open() const { return open_.load(std::memory_order_acquire); }
  /// From here on page content is immutable and requests are legal.
  void allow_requests() { switched_.store(true, std::memory_order_release); }
  void shut_down() { channel_->channel().shut_down(); }
  [[nodiscard]] std::uint64_t demand_pages() const {
    return demand_.load(std::memory_order_relaxed);
  }
  [[nodiscard]] std::uint64_t overtaken_pages() const {
    return overtaken_.load(std::memory_order_relaxed);
  }
  [[nodiscard]] std::uint64_t payload_bytes() const {
    return payload_bytes_.load(std::memory_order_relaxed);
  }
  [[nodiscard]] std::uint64_t bytes_sent() const { return channel_->channel().bytes_sent(); }

 private:
  void run();
  Status on_frame(const wire::FrameView& frame);
  Status on_request(const wire::PageRequest& request);
  void pump();

  SourcePlane& plane_;
  Transport& transport_;
  std::unique_ptr<EventLoop> loop_;  // lives as long as this object: stop() may wake it at any time
  std::unique_ptr<FrameChannel> channel_;
  wire::Hello hello_;
  SourceNotes notes_;
  BatchBuilder builder_;
  std::deque<PageId> queue_;
  bool answered_ = false;  // as open_, for this thread
  std::atomic<bool> open_{false};
  std::atomic<bool> switched_{false};
  std::atomic<bool> stopping_{false};
  std::atomic<std::uint64_t> demand_{0};
  std::atomic<std::uint64_t> overtaken_{0};
  std::atomic<std::uint64_t> payload_bytes_{0};
  std::jthread thread_;
};

}  // namespace godwit::engine
