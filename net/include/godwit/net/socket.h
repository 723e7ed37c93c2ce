#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "godwit/base/result.h"

namespace godwit::net {

/// Where somebody listens: a host name or numeric address with a port, or the path of a Unix
/// socket.
struct Address {
  std::string host{};
  std::uint16_t port = 0;
  std::string path{};  ///< not empty: a Unix stream socket, and host and port mean nothing
  [[nodiscard]] bool is_unix() const { return !path.empty(); }
  /// Whether what is sent there does not leave this machine: a Unix socket or a loopback address.
  [[nodiscard]] bool stays_here() const;
  friend bool operator==(const Address&, const Address&) = default;
};

/// Reads HOST:PORT or [IPV6]:PORT.
/// Errors: kInvalidArgument with the text and what is wrong with it.
Result<Address> parse_address(std::string_view text);

/// HOST:PORT, with brackets around an IPv6 host.
std::string format_address(const Address& address);

/// Reads tcp:HOST:PORT, tcp:[IPV6]:PORT or unix:PATH.
/// Errors: kInvalidArgument, also for a path that is longer than a socket's may be.
Result<Address> parse_endpoint(std::string_view text);

/// What parse_endpoint() reads.
std::string format_endpoint(const Address& address);

/// Bytes that one bulk stream may have under way: enough for one bandwidth-delay product, never
/// less than keeps a short link busy, never so much that urgent pages wait behind a long queue.
/// Units: `round_trip_us` microseconds, `bytes_per_second` 0 = unlimited (10 Gbit/s is then
/// assumed).
std::uint64_t bulk_window_bytes(std::uint32_t round_trip_us, std::uint64_t bytes_per_second);

}  // namespace godwit::net
