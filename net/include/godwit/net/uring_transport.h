#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "godwit/base/result.h"
#include "godwit/engine/ports.h"

namespace godwit::net {

struct TcpOptions {
  std::string host;
  std::uint16_t port = 0;
  std::string congestion =
      "auto";  ///< auto, cubic, bbr or reno; auto: cubic on loopback, else the system's
  std::uint64_t max_bandwidth = 0;     ///< bytes/s of all bulk connections together; 0 = unlimited
  std::uint32_t bulk_connections = 1;  ///< how many bulk connections share max_bandwidth
};

struct TcpListenOptions {
  std::string host = "127.0.0.1";
  std::uint16_t port = 0;  ///< 0: the kernel chooses; Listener::address() tells
  std::string congestion = "auto";
};

/// A transport of TCP sockets over io_uring.
/// Errors: kUnsupported, kPermission as probe_uring(); kInvalidArgument for an unknown congestion
/// control's name.
Result<std::unique_ptr<engine::Transport>> make_uring_transport(TcpOptions options);

/// Binds and listens. Errors: kIo EADDRINUSE when the port is taken; kInvalidArgument when the host
/// does not resolve.
Result<std::unique_ptr<engine::Listener>> listen_tcp(TcpListenOptions options);

}  // namespace godwit::net
