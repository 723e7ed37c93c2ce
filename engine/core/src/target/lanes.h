#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "target/lane.h"

namespace godwit::engine {

/// The target's bulk channels. They are kept until the last of them has come; then lanes serve
/// them, fewer than channels where the host has few cores, and answer the source on each.
/// Thread: control.
class TargetLanes {
 public:
  struct Options {
    std::uint32_t channels = 1;  ///< as described
    std::size_t trace_faults = 0;
    CpuPriority cpu_priority = CpuPriority::kAuto;
  };
  TargetLanes(TargetPlane& plane,
              Transport& transport,
              wire::Welcome session,
              TargetNotes notes,
              Options options);

  /// `index` below the number of channels, each once. The last one starts the lanes.
  Status add_channel(std::unique_ptr<Channel> channel, std::uint32_t index);
  /// All channels have come and are served.
  [[nodiscard]] bool all_open() const;
  void wake();
  void shut_down();
  /// Joins the lanes.
  void stop();
  [[nodiscard]] std::uint64_t bytes_received() const;
  /// For their logs, after stop().
  [[nodiscard]] const std::vector<std::unique_ptr<TargetLane>>& lanes() const { return lanes_; }

 private:
  Status start();

  TargetPlane& plane_;
  Transport& transport_;
  wire::Welcome session_;
  TargetNotes notes_;
  const Options options_;
  std::vector<std::unique_ptr<Channel>> waiting_;  // by index, until the lanes start
  std::vector<std::unique_ptr<TargetLane>> lanes_;
};

}  // namespace godwit::engine
