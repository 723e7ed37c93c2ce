#pragma once

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "link/frame_channel.h"
#include "target/notes.h"
#include "target/plane.h"

namespace godwit::engine {

/// The target's urgent loop: one thread reads faults, requests pages, receives, installs and wakes,
/// so that no hop lies between a fault and its page.
class TargetUrgent {
 public:
  /// `faults` may be null: a migration without post-copy has no fault to serve.
  TargetUrgent(TargetPlane& plane,
               FaultService* faults,
               Transport& transport,
               std::unique_ptr<Channel> channel,
               wire::Welcome welcome,
               TargetNotes notes,
               std::size_t trace_faults);
  ~TargetUrgent() { stop(); }
  Status start();
  void stop();
  /// Its thread runs.
  [[nodiscard]] bool is_open() const { return open_.load(std::memory_order_acquire); }
  void shut_down() { channel_->channel().shut_down(); }
  [[nodiscard]] const FaultLog& log() const { return log_; }  ///< after stop()

 private:
  void run();
  Status on_frame(const wire::FrameView& frame);
  void on_faults();
  void send_requests();
  void fail_unless_stopping(const Error& error);

  TargetPlane& plane_;
  FaultService* faults_;
  Transport& transport_;
  std::unique_ptr<EventLoop> loop_;  // lives as long as this object: wake() may come at any time
  std::unique_ptr<FrameChannel> channel_;
  wire::Welcome welcome_;
  TargetNotes notes_;
  FaultLog log_;
  std::vector<PageId> wanted_;
  std::atomic<bool> open_{false};
  std::atomic<bool> stopping_{false};
  std::jthread thread_;
};

}  // namespace godwit::engine
