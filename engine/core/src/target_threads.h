#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "godwit/base/histogram.h"

#include "frame_channel.h"
#include "target_plane.h"

namespace godwit::engine {

/// What the bulk and urgent threads tell the control thread. Thread: any.
struct TargetNotes {
  std::function<void(const Error&)> failed;
  std::function<void()> opened;      ///< the channel is attached and answered
  std::function<void()> progressed;  ///< pages came; perhaps all are present now
};

/// The target's bulk loop: receives page frames and announcements in the order of the channel,
/// places the pages, and, when the guest runs here and nothing else is to do, maps what is valid.
class TargetBulk {
 public:
  TargetBulk(TargetPlane& plane,
             Transport& transport,
             std::unique_ptr<Channel> channel,
             wire::Welcome welcome,
             TargetNotes notes);
  ~TargetBulk() { stop(); }
  TargetBulk(const TargetBulk&) = delete;
  TargetBulk& operator=(const TargetBulk&) = delete;
  Status start();
  void stop();
  void wake();
  void shut_down() { channel_->channel().shut_down(); }
  [[nodiscard]] const Histogram& latencies() const { return latencies_; }  ///< after stop()

 private:
  void run();
  Status on_frame(const wire::FrameView& frame);
  void fail_unless_stopping(const Error& error);

  TargetPlane& plane_;
  Transport& transport_;
  std::unique_ptr<EventLoop> loop_;  // lives as long as this object: wake() may come at any time
  std::unique_ptr<FrameChannel> channel_;
  wire::Welcome welcome_;
  TargetNotes notes_;
  Histogram latencies_;
  std::atomic<bool> stopping_{false};
  std::jthread thread_;
};

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
               TargetNotes notes);
  ~TargetUrgent() { stop(); }
  TargetUrgent(const TargetUrgent&) = delete;
  TargetUrgent& operator=(const TargetUrgent&) = delete;
  Status start();
  void stop();
  void shut_down() { channel_->channel().shut_down(); }
  [[nodiscard]] const Histogram& latencies() const { return latencies_; }  ///< after stop()

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
  Histogram latencies_;
  std::vector<PageId> wanted_;
  std::atomic<bool> stopping_{false};
  std::jthread thread_;
};

}  // namespace godwit::engine
