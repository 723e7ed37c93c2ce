#pragma once

#include <memory>

#include "channels/channel_state.h"

namespace godwit::net {

/// A channel's state for a PollLoop.
std::shared_ptr<ChannelState> make_poll_channel_state(Fd socket);

}  // namespace godwit::net
