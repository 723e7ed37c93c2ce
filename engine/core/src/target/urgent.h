#pragma once

#include <atomic>
#include <memory>
#include <mutex>
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
  /// Its thread runs, and has a channel.
  [[nodiscard]] bool is_open() const { return open_.load(std::memory_order_acquire); }
  /// The link is lost: the channel ends, and faults on pages that are here go on being served. What
  /// the channel still says is not heard. Thread: control.
  void drop_channel();
  /// Another channel instead: what faults wait for is asked for again. Thread: control.
  void adopt(std::unique_ptr<Channel> channel, const wire::Welcome& welcome);
  [[nodiscard]] const FaultLog& log() const { return log_; }  ///< after stop()

 private:
  Status attach(std::unique_ptr<Channel> channel, const wire::Welcome& welcome, std::uint64_t link);
  void run();
  void take_news();
  /// All that a fault has asked for and that is not here.
  void ask_again();
  Status on_frame(const wire::FrameView& frame);
  void on_faults();
  void send_requests();
  void fail_unless_stopping(const Error& error);

  TargetPlane& plane_;
  FaultService* faults_;
  Transport& transport_;
  std::unique_ptr<EventLoop> loop_;  // lives as long as this object: wake() may come at any time
  std::unique_ptr<Channel> first_;   // until start()
  std::unique_ptr<FrameChannel> channel_;  // null while the link is lost
  wire::Welcome welcome_;
  TargetNotes notes_;
  FaultLog log_;
  std::vector<PageId> wanted_;
  std::mutex news_mutex_;  // once a link: guards the three below, and changes of link_ and open_
  bool dropped_ = false;
  std::unique_ptr<Channel> adopted_;
  wire::Welcome adopted_welcome_;
  std::atomic<std::uint64_t> link_{0};  // counts the links; a channel of an older one is not heard
  std::atomic<bool> open_{false};
  std::atomic<bool> stopping_{false};
  std::jthread thread_;
};

}  // namespace godwit::engine
