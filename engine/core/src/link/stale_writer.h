#pragma once

#include "godwit/base/units.h"
#include "godwit/wire/codec.h"

#include "link/frame_channel.h"

namespace godwit::engine {

/// Collects announcements of stale pages into STALE frames of one channel, as full as a frame may
/// be; what is left goes when this object ends.
class StaleWriter {
 public:
  explicit StaleWriter(FrameChannel& channel) : channel_(channel) {}
  ~StaleWriter() { flush(); }
  StaleWriter(const StaleWriter&) = delete;
  StaleWriter& operator=(const StaleWriter&) = delete;
  void add(PageRun run) {
    stale_.runs.push_back(run);
    if (stale_.runs.size() == wire::kMaxStaleRuns) {
      flush();
    }
  }

 private:
  void flush() {
    if (!stale_.runs.empty()) {
      channel_.send(wire::MessageType::kStale, stale_);
      stale_.runs.clear();
    }
  }
  FrameChannel& channel_;
  wire::Stale stale_;
};

}  // namespace godwit::engine
