#pragma once

#include <cstdint>
#include <string>

#include "godwit/base/clock.h"
#include "godwit/base/fd.h"
#include "godwit/engine/ports/transport.h"
#include "godwit/net/socket.h"

namespace godwit::net {

/// Options that a connection gets before its handshake.
struct ConnectOptions {
  engine::ChannelKind kind = engine::ChannelKind::kControl;
  std::string congestion = "auto";
  std::uint64_t bytes_per_second = 0;  ///< bulk only; 0 = unlimited
  int interrupt_fd = -1;               ///< readable: give up; -1 = none
};

/// Connects within `deadline`, the name's lookup included, trying every address of the name.
/// Errors: kCancelled by `interrupt_fd`, which is not heeded while the queue of a Unix listener is
/// full (connect(2) cannot wait for both).
/// Guarantees: the socket is blocking, as io_uring needs it: on a non-blocking one it returns
/// EAGAIN and waits not.
Result<Fd> connect_socket(const Address& peer, const ConnectOptions& options, Deadline deadline);

}  // namespace godwit::net
