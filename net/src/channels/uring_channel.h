#pragma once

#include <memory>

#include "channels/channel_state.h"

namespace godwit::net {

/// A channel's state for a RingLoop. Requires: a blocking socket; on a non-blocking one io_uring
/// returns EAGAIN and does not wait.
std::shared_ptr<ChannelState> make_uring_channel_state(Fd socket);

}  // namespace godwit::net
