#pragma once

#include <sys/socket.h>

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

/// Connects within `deadline`, trying every address of the name. The name's own lookup is not
/// bounded by it. Guarantees: the socket is blocking, as io_uring needs it: on a non-blocking one
/// it returns EAGAIN and waits not.
Result<Fd> connect_socket(const Address& peer, const ConnectOptions& options, Deadline deadline);
/// Errors: kIo EADDRINUSE with the address.
Result<Fd> listen_socket(const Address& at);
Result<Address> bound_address(int fd);

Status check_congestion_name(const std::string& name);
/// `name` "auto" sets cubic if the peer is on this host and leaves the system's choice elsewhere.
Status set_congestion(int fd, const std::string& name, bool loopback);
/// What the socket uses; empty when the kernel does not tell.
std::string congestion_of(int fd);
bool is_loopback(const sockaddr_storage& address);

void set_nodelay(int fd);
/// Bounds what a bulk stream has under way: the sender's half and the receiver's.
void bound_send_window(int fd, std::uint64_t bytes_per_second);
void bound_receive_window(int fd);

}  // namespace godwit::net
