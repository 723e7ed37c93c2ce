#include <charconv>

#include <fmt/format.h>

#include "godwit/net/socket.h"
#include "godwit/net/unix_listener.h"

namespace godwit::net {
namespace {

constexpr std::string_view kTcp = "tcp:";
constexpr std::string_view kUnix = "unix:";

}  // namespace

bool Address::stays_here() const {
  return is_unix() || host == "localhost" || host == "::1" || host.rfind("127.", 0) == 0;
}

Result<Address> parse_address(std::string_view text) {
  const auto wrong = [text](const char* why) {
    return fail(ErrorCode::kInvalidArgument, "address", fmt::format("\"{}\": {}", text, why));
  };
  std::string_view host;
  std::string_view port;
  if (!text.empty() && text.front() == '[') {
    const auto end = text.find(']');
    if (end == std::string_view::npos || end + 1 >= text.size() || text[end + 1] != ':') {
      return wrong("expected [IPV6]:PORT");
    }
    host = text.substr(1, end - 1);
    port = text.substr(end + 2);
  } else {
    const auto colon = text.find(':');
    if (colon == std::string_view::npos) {
      return wrong("expected HOST:PORT, the port is missing");
    }
    if (text.find(':', colon + 1) != std::string_view::npos) {
      return wrong("an IPv6 address needs brackets, [IPV6]:PORT");
    }
    host = text.substr(0, colon);
    port = text.substr(colon + 1);
  }
  if (host.empty()) {
    return wrong("the host is empty");
  }
  std::uint16_t number = 0;
  const auto parsed = std::from_chars(port.data(), port.data() + port.size(), number);
  if (port.empty() || parsed.ec != std::errc{} || parsed.ptr != port.data() + port.size()) {
    return wrong("the port is no number from 0 to 65535");
  }
  return Address{std::string(host), number};
}

std::string format_address(const Address& address) {
  const bool v6 = address.host.find(':') != std::string::npos;
  return v6 ? fmt::format("[{}]:{}", address.host, address.port)
            : fmt::format("{}:{}", address.host, address.port);
}

Result<Address> parse_endpoint(std::string_view text) {
  if (text.substr(0, kTcp.size()) == kTcp) {
    return parse_address(text.substr(kTcp.size()));
  }
  if (text.substr(0, kUnix.size()) == kUnix) {
    Address address{.path = std::string(text.substr(kUnix.size()))};
    GODWIT_TRY(unix_address(address.path));
    return address;
  }
  return fail(ErrorCode::kInvalidArgument,
              "address",
              fmt::format("\"{}\": expected tcp:HOST:PORT or unix:PATH", text));
}

std::string format_endpoint(const Address& address) {
  return address.is_unix() ? fmt::format("{}{}", kUnix, address.path)
                           : fmt::format("{}{}", kTcp, format_address(address));
}

}  // namespace godwit::net
