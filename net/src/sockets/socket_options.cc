#include "sockets/socket_options.h"

#include <netinet/in.h>
#include <netinet/tcp.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "godwit/base/units.h"
#include "godwit/net/socket.h"
#include "godwit/net/transport.h"

namespace godwit::net {
namespace {

// Of each half, the sender's buffer and the receiver's. Measured on loopback with cubic on 2 cores
// and Linux 6.18, one stream of 1 GiB, medians of 7 interleaved runs; "under way" is what both
// sockets hold when the receiver stops reading:
//
//   window     throughput    under way
//   256 KiB    4.2 GB/s        447 KiB
//   384 KiB    5.0 GB/s        636 KiB
//   512 KiB    5.0 GB/s       1018 KiB
//   768 KiB    not noted      1527 KiB
//   unbounded  4.4 GB/s       4193 KiB
//
// 384 KiB is the least that costs no throughput.
constexpr std::uint64_t kMinBulkWindow = 384 * kKiB;
constexpr std::uint64_t kMaxBulkWindow = 32 * kMiB;
constexpr std::uint64_t kAssumedBytesPerSecond = 1'250'000'000;

void set_int(int fd, int level, int option, int value) {
  // Tuning only: a socket that does not take it still carries the bytes.
  [[maybe_unused]] const int status = ::setsockopt(fd, level, option, &value, sizeof value);
}

/// The option that takes the kernel's automatic size back. Kernel: 5.14; not in every header.
constexpr int kBufferLock = 72;  // SO_BUF_LOCK

/// FORCE passes net.core.rmem_max and wmem_max where the process has CAP_NET_ADMIN. Without it and
/// above these the kernel would cut the window short and fix it there, which caps a long link: then
/// the buffer is left to the kernel, which sizes it by itself up to tcp_rmem and tcp_wmem.
void set_buffer(int fd, int forced, int plain, std::uint64_t window) {
  // The kernel doubles the value and counts its own overhead in it.
  const int value = static_cast<int>(window / 2);
  if (::setsockopt(fd, SOL_SOCKET, forced, &value, sizeof value) == 0) {
    return;
  }
  int locks = 0;
  socklen_t size = sizeof locks;
  const bool known = ::getsockopt(fd, SOL_SOCKET, kBufferLock, &locks, &size) == 0;
  set_int(fd, SOL_SOCKET, plain, value);
  int got = 0;
  size = sizeof got;
  if (known && ::getsockopt(fd, SOL_SOCKET, plain, &got, &size) == 0 && got < 2 * value) {
    set_int(fd, SOL_SOCKET, kBufferLock, locks);
  }
}

std::uint32_t round_trip_us(int fd) {
  tcp_info info{};
  socklen_t size = sizeof info;
  return ::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0 ? info.tcpi_rtt : 0;
}

}  // namespace

std::uint64_t bulk_window_bytes(std::uint32_t round_trip_us, std::uint64_t bytes_per_second) {
  const auto rate =
      bytes_per_second == 0 ? kAssumedBytesPerSecond : std::min(bytes_per_second, 100 * kGiB);
  // A round trip of over a second is a broken measurement, not a link.
  const std::uint64_t round_trip = std::min<std::uint64_t>(round_trip_us, 1'000'000);
  return std::clamp(rate * round_trip / 1'000'000, kMinBulkWindow, kMaxBulkWindow);
}

Status check_congestion_name(const std::string& name) {
  if (kCongestionNames.parse(name)) {
    return {};
  }
  return fail(ErrorCode::kInvalidArgument,
              "congestion",
              fmt::format("\"{}\" is none of {}", name, kCongestionNames.choices()));
}

Status set_congestion(int fd, const std::string& name, bool loopback) {
  if (name == "auto" && !loopback) {
    return {};
  }
  const std::string chosen = name == "auto" ? "cubic" : name;
  const auto size = static_cast<socklen_t>(chosen.size());
  if (::setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, chosen.data(), size) == 0 || name == "auto") {
    return {};  // auto is a wish: a kernel without cubic keeps its default
  }
  return fail_errno(
      errno,
      "TCP_CONGESTION",
      fmt::format("{} cannot be used; load tcp_{} and see net.ipv4.tcp_allowed_congestion_control",
                  chosen,
                  chosen));
}

std::string congestion_of(int fd) {
  char name[16] = {};
  socklen_t size = sizeof name - 1;
  return ::getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &size) == 0 ? std::string(name)
                                                                         : std::string();
}

bool is_loopback(const sockaddr_storage& address) {
  if (address.ss_family == AF_INET) {
    sockaddr_in v4{};
    std::memcpy(&v4, &address, sizeof v4);
    return (ntohl(v4.sin_addr.s_addr) >> 24) == 127;
  }
  sockaddr_in6 v6{};
  std::memcpy(&v6, &address, sizeof v6);
  return address.ss_family == AF_INET6 &&
         (IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr) ||
          (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr) && v6.sin6_addr.s6_addr[12] == 127));
}

void tune_connection(int fd) {
  set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, kKeepaliveIdleSeconds);
  set_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, kKeepaliveIntervalSeconds);
  set_int(fd, IPPROTO_TCP, TCP_KEEPCNT, kKeepaliveProbes);
}

void set_send_window(int fd, std::uint64_t bytes) {
  set_buffer(fd, SO_SNDBUFFORCE, SO_SNDBUF, bytes);
}

void set_receive_window(int fd, std::uint64_t bytes) {
  set_buffer(fd, SO_RCVBUFFORCE, SO_RCVBUF, bytes);
}

void bound_send_window(int fd, std::uint64_t bytes_per_second) {
  // No SO_MAX_PACING_RATE: the sender's own budget is shared by all connections, and what a socket
  // holds back for its rate (a barrier behind it) would make a stopped guest wait.
  set_send_window(fd, bulk_window_bytes(round_trip_us(fd), bytes_per_second));
}

void bound_receive_window(int fd) {
  set_receive_window(fd, bulk_window_bytes(round_trip_us(fd), 0));
}

}  // namespace godwit::net
