#pragma once

#include <cstdint>
#include <string>

#include "godwit/base/clock.h"
#include "godwit/base/fd.h"
#include "godwit/engine/ports.h"
#include "godwit/net/socket.h"

namespace godwit::net {

/// Options that a connection gets before its handshake.
struct ConnectOptions {
  engine::ChannelKind kind = engine::ChannelKind::kControl;
  std::string congestion = "auto";
  std::uint64_t bytes_per_second = 0;  ///< bulk only; 0 = unlimited
};

/// Connects within `deadline`, the name's lookup included, trying every address of the name.
/// Guarantees: the socket is blocking, as io_uring needs it: on a non-blocking one it returns
/// EAGAIN and waits not.
Result<Fd> connect_socket(const Address& peer, const ConnectOptions& options, Deadline deadline);

}  // namespace godwit::net
