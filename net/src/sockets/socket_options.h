#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <string>

#include "godwit/base/result.h"

namespace godwit::net {

/// A peer that is gone without a word (its host died, the network between was cut) is noticed after
/// idle + probes * interval = 30 s, also by a side that only waits. That is long against a short
/// outage, because a link that is lost after the decision to commit makes both sides hold.
///
/// Keepalive only probes while nothing is under way. For bytes that nobody acknowledges there is
/// the migration's own deadline before the decision, and the kernel's retransmission limit
/// (net.ipv4.tcp_retries2) after it. TCP_USER_TIMEOUT is not set: it would also end a connection
/// whose peer answers but has a full window for that long, which a busy target may well have, and
/// it overrides the number of probes. Source: tcp(7); Documentation/networking/ip-sysctl.rst
inline constexpr int kKeepaliveIdleSeconds = 10;
inline constexpr int kKeepaliveIntervalSeconds = 5;
inline constexpr int kKeepaliveProbes = 4;
/// How long a host name to listen on may take to resolve.
inline constexpr std::int64_t kResolveNs = 10'000'000'000;
/// How long the kernel may take to close the Unix socket of a process that has ended.
inline constexpr int kTakeDownMs = 1000;

Status check_congestion_name(const std::string& name);
/// `name` "auto" sets cubic if the peer is on this host and leaves the system's choice elsewhere.
Status set_congestion(int fd, const std::string& name, bool loopback);
/// What the socket uses; empty when the kernel does not tell.
std::string congestion_of(int fd);
bool is_loopback(const sockaddr_storage& address);

/// What every TCP connection gets: it sends at once, and probes a silent peer.
void tune_connection(int fd);
/// Bounds what a bulk stream has under way: the sender's half and the receiver's. A Unix socket has
/// only the sender's.
void bound_send_window(int fd, std::uint64_t bytes_per_second);
void bound_receive_window(int fd);
/// The same to a size. Where that is not permitted the kernel goes on sizing the buffer.
void set_send_window(int fd, std::uint64_t bytes);
void set_receive_window(int fd, std::uint64_t bytes);

}  // namespace godwit::net
