#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include "godwit/base/names.h"
#include "godwit/base/result.h"
#include "godwit/engine/ports/transport.h"
#include "godwit/net/socket.h"

namespace godwit::net {

/// What waits for a transport's sockets. The bytes on the wire are the same.
enum class LoopKind : std::uint8_t {
  kUring = 1,  ///< RingLoop
  kPoll,       ///< PollLoop
};

inline constexpr Names kLoopNames{
    std::array{Named{LoopKind::kUring, "uring"}, Named{LoopKind::kPoll, "poll"}}};

/// "uring" or "poll".
const char* loop_name(LoopKind loop);

/// How a TCP connection reacts to loss. Options name it as kCongestionNames does.
enum class Congestion : std::uint8_t {
  kAuto = 1,  ///< cubic on loopback, else the system's
  kCubic,
  kBbr,
  kReno,
};

inline constexpr Names kCongestionNames{std::array{Named{Congestion::kAuto, "auto"},
                                                   Named{Congestion::kCubic, "cubic"},
                                                   Named{Congestion::kBbr, "bbr"},
                                                   Named{Congestion::kReno, "reno"}}};

struct TransportOptions {
  Address peer{};
  /// One of kCongestionNames. TCP only.
  std::string congestion = "auto";
  std::uint64_t max_bandwidth = 0;     ///< bytes/s of all bulk connections together; 0 = unlimited
  std::uint32_t bulk_connections = 1;  ///< how many bulk connections share max_bandwidth
};

struct ListenOptions {
  Address at{.host = "127.0.0.1"};  ///< port 0: the kernel chooses; Listener::address() tells
  std::string congestion = "auto";
};

/// A transport of TCP or Unix stream sockets, as many connections and loops as are asked for.
/// Errors: kUnsupported, kPermission as probe_uring(), for kUring; kInvalidArgument for an unknown
/// congestion control's name.
Result<std::unique_ptr<engine::Transport>> make_transport(LoopKind loop, TransportOptions options);

/// Binds and listens; the accepted channels join loops of kind `loop`. The file of a Unix socket is
/// open to this user alone (mode 0600) and goes with the listener; one that a dead process left
/// is replaced.
/// Errors: kIo EADDRINUSE when the port, or the path by a living process, is taken; kIo EEXIST when
/// the path is no socket; kInvalidArgument when the host does not resolve; kTimeout when the
/// resolver does not answer.
Result<std::unique_ptr<engine::Listener>> make_listener(LoopKind loop, ListenOptions options);

}  // namespace godwit::net
