#include "godwit/net/socket.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <memory>
#include <mutex>

#include <fmt/format.h>

#include "godwit/base/thread.h"
#include "godwit/base/units.h"

#include "socket_ops.h"

namespace godwit::net {
namespace {

// Of each half, the sender's buffer and the receiver's. Measured on loopback with cubic on 2 cores
// and Linux 6.18, one stream of 1 GiB, medians of 7 interleaved runs; "under way" is what both
// sockets hold when the receiver stops reading:
//   unbounded 4.4 GB/s and 4193 KiB under way; 256 KiB 4.2 GB/s and 447 KiB; 384 KiB 5.0 GB/s and
//   636 KiB; 512 KiB 5.0 GB/s and 1018 KiB; 768 KiB 1527 KiB.
// 384 KiB is the least that costs no throughput.
constexpr std::uint64_t kMinBulkWindow = 384 * kKiB;
constexpr std::uint64_t kMaxBulkWindow = 32 * kMiB;
constexpr std::uint64_t kAssumedBytesPerSecond = 1'250'000'000;
constexpr int kBacklog = 64;
/// For the name of an address of this machine.
constexpr std::int64_t kResolveListenNs = 10'000'000'000;

using AddressList = std::unique_ptr<addrinfo, decltype(&freeaddrinfo)>;

/// One look-up, which its thread and who waits for it share.
struct Lookup {
  std::mutex mutex;
  std::condition_variable done;
  bool ended = false;  ///< guarded by mutex, like the two below
  int status = 0;
  AddressList list{nullptr, &freeaddrinfo};
};

int look_up(const Address& address, int flags, AddressList& list) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const auto port = std::to_string(address.port);
  const int status = ::getaddrinfo(address.host.c_str(), port.c_str(), &hints, &found);
  if (status == 0) {
    list.reset(found);
  }
  return status;
}

/// getaddrinfo() knows no deadline and cannot be interrupted: a name that needs a server is looked
/// up on a thread of its own, which is left behind if the server does not answer in time.
Result<AddressList> resolve(const Address& address, int flags, Deadline deadline) {
  AddressList list(nullptr, &freeaddrinfo);
  int status = look_up(address, flags | AI_NUMERICHOST, list);
  if (status == EAI_NONAME) {
    auto lookup = std::make_shared<Lookup>();
    start_thread("godwit-resolve", ThreadRole::kGuest, [lookup, address, flags] {
      AddressList found(nullptr, &freeaddrinfo);
      const int ended_with = look_up(address, flags, found);
      const std::lock_guard lock(lookup->mutex);
      lookup->list = std::move(found);
      lookup->status = ended_with;
      lookup->ended = true;
      lookup->done.notify_all();
    }).detach();
    std::unique_lock lock(lookup->mutex);
    const auto ended = [&] { return lookup->ended; };
    if (const auto left_ns = deadline.left_ns(); left_ns == INT64_MAX) {
      lookup->done.wait(lock, ended);
    } else if (!lookup->done.wait_for(lock, std::chrono::nanoseconds(left_ns), ended)) {
      return fail(ErrorCode::kTimeout,
                  "resolve",
                  fmt::format("{}: no name server answers; give a numeric address", address.host));
    }
    status = lookup->status;
    list = std::move(lookup->list);
  }
  if (status != 0) {
    return fail(ErrorCode::kInvalidArgument,
                "resolve",
                fmt::format("{}: {}; give a numeric address or a name that resolves",
                            address.host,
                            ::gai_strerror(status)));
  }
  return list;
}

Address address_of(const sockaddr_storage& storage) {
  char text[INET6_ADDRSTRLEN] = {};
  if (storage.ss_family == AF_INET6) {
    sockaddr_in6 v6{};
    std::memcpy(&v6, &storage, sizeof v6);
    ::inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof text);
    return {text, ntohs(v6.sin6_port)};
  }
  sockaddr_in v4{};
  std::memcpy(&v4, &storage, sizeof v4);
  ::inet_ntop(AF_INET, &v4.sin_addr, text, sizeof text);
  return {text, ntohs(v4.sin_port)};
}

void set_int(int fd, int level, int option, int value) {
  // Tuning only: a socket that does not take it still carries the bytes.
  [[maybe_unused]] const int status = ::setsockopt(fd, level, option, &value, sizeof value);
}

/// FORCE passes net.core.rmem_max and wmem_max where the process has CAP_NET_ADMIN.
void set_buffer(int fd, int forced, int plain, std::uint64_t window) {
  // The kernel doubles the value and counts its own overhead in it.
  const int value = static_cast<int>(window / 2);
  if (::setsockopt(fd, SOL_SOCKET, forced, &value, sizeof value) != 0) {
    set_int(fd, SOL_SOCKET, plain, value);
  }
}

std::uint32_t round_trip_us(int fd) {
  tcp_info info{};
  socklen_t size = sizeof info;
  return ::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0 ? info.tcpi_rtt : 0;
}

tl::unexpected<Error> connect_error(int sys_errno, const Address& peer) {
  const auto at = format_address(peer);
  if (sys_errno == ECONNREFUSED) {
    return fail_errno(
        sys_errno,
        "connect",
        fmt::format("nobody listens at {}; start `godwit receive` there, or check host and port",
                    at));
  }
  return fail_errno(sys_errno, "connect", at);
}

Status wait_connected(int fd, const Address& peer, Deadline deadline) {
  pollfd poll_for{fd, POLLOUT, 0};
  for (;;) {
    const auto left_ns = deadline.left_ns();
    timespec timeout{left_ns / 1'000'000'000, left_ns % 1'000'000'000};
    const int ready = ::ppoll(&poll_for, 1, left_ns == INT64_MAX ? nullptr : &timeout, nullptr);
    if (ready > 0) {
      break;
    }
    if (ready == 0) {
      return fail(
          ErrorCode::kTimeout,
          "connect",
          fmt::format("{} does not answer; check the address and firewalls", format_address(peer)));
    }
    if (errno != EINTR) {
      return fail_errno(errno, "poll");
    }
  }
  int error = 0;
  socklen_t size = sizeof error;
  if (::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0) {
    error = errno;
  }
  return error == 0 ? Status{} : Status(connect_error(error, peer));
}

Result<Fd> connect_one(const addrinfo& to,
                       const Address& peer,
                       const ConnectOptions& options,
                       Deadline deadline) {
  Fd fd(::socket(to.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) {
    return fail_errno(errno, "socket");
  }
  sockaddr_storage storage{};
  std::memcpy(&storage, to.ai_addr, to.ai_addrlen);
  GODWIT_TRY(set_congestion(fd.get(), options.congestion, is_loopback(storage)));
  set_nodelay(fd.get());
  // A signal leaves the handshake running: it is waited for like EINPROGRESS.
  if (::connect(fd.get(), to.ai_addr, to.ai_addrlen) != 0) {
    if (errno != EINPROGRESS && errno != EINTR) {
      return connect_error(errno, peer);
    }
    GODWIT_TRY(wait_connected(fd.get(), peer, deadline));
  }
  const int flags = ::fcntl(fd.get(), F_GETFL);
  if (flags < 0 || ::fcntl(fd.get(), F_SETFL, flags & ~O_NONBLOCK) != 0) {
    return fail_errno(errno, "fcntl");
  }
  if (options.kind == engine::ChannelKind::kBulk) {
    bound_send_window(fd.get(), options.bytes_per_second);
  }
  return fd;
}

}  // namespace

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

std::uint64_t bulk_window_bytes(std::uint32_t round_trip_us, std::uint64_t bytes_per_second) {
  const auto rate =
      bytes_per_second == 0 ? kAssumedBytesPerSecond : std::min(bytes_per_second, 100 * kGiB);
  // A round trip of over a second is a broken measurement, not a link.
  const std::uint64_t round_trip = std::min<std::uint64_t>(round_trip_us, 1'000'000);
  return std::clamp(rate * round_trip / 1'000'000, kMinBulkWindow, kMaxBulkWindow);
}

Result<Fd> connect_socket(const Address& peer, const ConnectOptions& options, Deadline deadline) {
  GODWIT_TRY_ASSIGN(const auto list, resolve(peer, 0, deadline));
  Result<Fd> last = fail(ErrorCode::kInvalidArgument, "connect", "the name has no address");
  for (const auto* to = list.get(); to != nullptr; to = to->ai_next) {
    last = connect_one(*to, peer, options, deadline);
    if (last || deadline.passed()) {
      break;
    }
  }
  return last;
}

Result<Fd> listen_socket(const Address& at) {
  GODWIT_TRY_ASSIGN(const auto list, resolve(at, AI_PASSIVE, Deadline::after_ns(kResolveListenNs)));
  Fd fd(::socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) {
    return fail_errno(errno, "socket");
  }
  // A connection of the last run in TIME_WAIT must not keep the port.
  set_int(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1);
  if (::bind(fd.get(), list->ai_addr, list->ai_addrlen) != 0 || ::listen(fd.get(), kBacklog) != 0) {
    const int error = errno;
    const auto text = format_address(at);
    return fail_errno(
        error,
        "listen",
        error == EADDRINUSE
            ? fmt::format("{} is in use; choose another port, or 0 for any free one", text)
            : text);
  }
  return fd;
}

Result<Address> bound_address(int fd) {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &size) != 0) {
    return fail_errno(errno, "getsockname");
  }
  return address_of(storage);
}

Status check_congestion_name(const std::string& name) {
  if (name == "auto" || name == "cubic" || name == "bbr" || name == "reno") {
    return {};
  }
  return fail(ErrorCode::kInvalidArgument,
              "congestion",
              fmt::format("\"{}\" is none of auto, cubic, bbr, reno", name));
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

void set_nodelay(int fd) {
  set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
}

void bound_send_window(int fd, std::uint64_t bytes_per_second) {
  set_buffer(fd, SO_SNDBUFFORCE, SO_SNDBUF, bulk_window_bytes(round_trip_us(fd), bytes_per_second));
  if (bytes_per_second != 0) {
    // TCP paces by itself where no fq queue does it, loopback included (measured: 0.48-0.50 GB/s
    // for a limit of 0.5).
    [[maybe_unused]] const int status = ::setsockopt(
        fd, SOL_SOCKET, SO_MAX_PACING_RATE, &bytes_per_second, sizeof bytes_per_second);
  }
}

void bound_receive_window(int fd) {
  set_buffer(fd, SO_RCVBUFFORCE, SO_RCVBUF, bulk_window_bytes(round_trip_us(fd), 0));
}

}  // namespace godwit::net
