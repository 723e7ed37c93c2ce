#pragma once

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "link/frame_channel.h"
#include "link/lane_rank.h"
#include "target/notes.h"
#include "target/plane.h"

namespace godwit::engine {

/// One thread of the target's bulk channels: receives page frames and announcements of its
/// channels, each in the order of its channel, places the pages, and, when the guest runs here and
/// nothing else is to do, maps what is valid.
class TargetLane {
 public:
  struct Options {
    std::uint32_t channels = 1;  ///< of the migration, for the chunk rule
    bool sweeps = true;          ///< one lane only
    std::size_t trace_faults = 0;
    CpuPriority cpu_priority = CpuPriority::kAuto;
  };
  TargetLane(TargetPlane& plane,
             std::unique_ptr<EventLoop> loop,
             wire::Welcome welcome,
             TargetNotes notes,
             Options options);
  ~TargetLane() { stop(); }
  TargetLane(const TargetLane&) = delete;
  TargetLane& operator=(const TargetLane&) = delete;
  /// Before start() only. The answer to the source leaves when the lane runs.
  Status add_channel(std::unique_ptr<Channel> channel, std::uint32_t index);
  Status start();
  void stop();
  void wake();
  void shut_down();
  /// Its thread runs.
  [[nodiscard]] bool is_open() const { return open_.load(std::memory_order_acquire); }
  [[nodiscard]] std::uint64_t bytes_received() const;
  [[nodiscard]] const FaultLog& log() const { return log_; }  ///< after stop()

 private:
  struct Slot {
    std::unique_ptr<FrameChannel> channel;
    std::uint32_t index;
  };
  void run();
  Status on_frame(Slot& slot, const wire::FrameView& frame);
  Status on_pages(Slot& slot, const wire::FrameView& frame);
  [[nodiscard]] Status check_chunk(const Slot& slot, PageRun run) const;
  void fail_unless_stopping(const Error& error);

  TargetPlane& plane_;
  std::unique_ptr<EventLoop> loop_;  // lives as long as this object: wake() may come at any time
  std::vector<std::unique_ptr<Slot>> slots_;
  wire::Welcome welcome_;
  TargetNotes notes_;
  const Options options_;
  FaultLog log_;
  LaneRank rank_;
  std::atomic<bool> open_{false};
  std::atomic<bool> stopping_{false};
  std::jthread thread_;
};

}  // namespace godwit::engine
