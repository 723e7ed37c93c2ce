#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "godwit/base/result.h"

namespace godwit::net {

/// A host name or numeric address, and a port.
struct Address {
  std::string host;
  std::uint16_t port = 0;
  friend bool operator==(const Address&, const Address&) = default;
};

/// Reads HOST:PORT or [IPV6]:PORT.
/// Errors: kInvalidArgument with the text and what is wrong with it.
Result<Address> parse_address(std::string_view text);

/// HOST:PORT, with brackets around an IPv6 host.
std::string format_address(const Address& address);

/// Bytes that one bulk stream may have under way: enough for one bandwidth-delay product, never
/// less than keeps a short link busy, never so much that urgent pages wait behind a long queue.
/// Units: `round_trip_us` microseconds, `bytes_per_second` 0 = unlimited (10 Gbit/s is then
/// assumed).
std::uint64_t bulk_window_bytes(std::uint32_t round_trip_us, std::uint64_t bytes_per_second);

}  // namespace godwit::net
