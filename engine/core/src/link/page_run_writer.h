#pragma once

#include "godwit/base/units.h"
#include "godwit/wire/codec.h"

#include "link/frame_channel.h"

namespace godwit::engine {

/// Collects runs of pages into frames of one channel, as full as a frame may be; what is left goes
/// when this object ends.
template <typename Message>
class PageRunWriter {
 public:
  PageRunWriter(FrameChannel& channel, wire::MessageType type) : channel_(channel), type_(type) {}
  ~PageRunWriter() { flush(); }
  PageRunWriter(const PageRunWriter&) = delete;
  PageRunWriter& operator=(const PageRunWriter&) = delete;
  void add(PageRun run) {
    message_.runs.push_back(run);
    if (message_.runs.size() == wire::kMaxStaleRuns) {
      flush();
    }
  }

 private:
  void flush() {
    if (!message_.runs.empty()) {
      channel_.send(type_, message_);
      message_.runs.clear();
    }
  }
  FrameChannel& channel_;
  const wire::MessageType type_;
  Message message_;
};

/// Announcements of stale pages.
class StaleWriter : public PageRunWriter<wire::Stale> {
 public:
  explicit StaleWriter(FrameChannel& channel)
      : PageRunWriter(channel, wire::MessageType::kStale) {}
};

}  // namespace godwit::engine
