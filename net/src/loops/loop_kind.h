#pragma once

#include <memory>

#include "godwit/base/fd.h"
#include "godwit/net/transport.h"

#include "channels/socket_channel.h"

namespace godwit::net {

// The one place that knows both kinds of loops.

/// Errors: as probe_uring(), for kUring.
Status probe_loop(LoopKind loop);
Result<std::unique_ptr<EventLoop>> make_loop(LoopKind loop);
/// A channel of a connected, blocking `socket`, for loops of kind `loop`.
std::unique_ptr<SocketChannel> make_channel(LoopKind loop, Fd socket);

}  // namespace godwit::net
