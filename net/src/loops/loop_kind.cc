#include "loops/loop_kind.h"

#include <utility>

#include "godwit/net/poll_loop.h"
#include "godwit/net/ring_loop.h"

#include "channels/poll_channel.h"
#include "channels/uring_channel.h"

namespace godwit::net {

const char* loop_name(LoopKind loop) {
  return kLoopNames.name_of(loop);
}

Status probe_loop(LoopKind loop) {
  return loop == LoopKind::kUring ? probe_uring() : Status{};
}

Result<std::unique_ptr<EventLoop>> make_loop(LoopKind loop) {
  if (loop == LoopKind::kUring) {
    GODWIT_TRY_ASSIGN(auto ring, RingLoop::create());
    return std::unique_ptr<EventLoop>(std::move(ring));
  }
  GODWIT_TRY_ASSIGN(auto poll, PollLoop::create());
  return std::unique_ptr<EventLoop>(std::move(poll));
}

std::unique_ptr<SocketChannel> make_channel(LoopKind loop, Fd socket) {
  return std::make_unique<SocketChannel>(loop == LoopKind::kUring
                                             ? make_uring_channel_state(std::move(socket))
                                             : make_poll_channel_state(std::move(socket)));
}

}  // namespace godwit::net
