#pragma once

#include "godwit/base/clock.h"
#include "godwit/base/fd.h"
#include "godwit/net/socket.h"

namespace godwit::net {

/// A listening, non-blocking TCP socket. Errors: as make_listener().
Result<Fd> listen_tcp(const Address& at, int backlog, Deadline deadline);
/// What a TCP socket is bound to.
Result<Address> bound_address(int fd);

}  // namespace godwit::net
