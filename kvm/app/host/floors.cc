#include "host/floors.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "godwit/base/clock.h"
#include "godwit/base/mapping.h"
#include "godwit/base/thread.h"
#include "godwit/base/units.h"
#include "godwit/uffd/uffd.h"

#include "cli/units_text.h"
#include "host/memory.h"

// Plain sockets and plain loops on purpose: a floor must not contain the code that is measured
// against it.

namespace godwit::app {
namespace {

constexpr std::size_t kMemcpyBytes = 256 * kMiB;
constexpr std::size_t kStreamBytesMax = kGiB;
// Stays in the second-level cache, as the engine's buffers do.
constexpr std::size_t kChunkBytes = 256 * kKiB;
constexpr int kRoundtrips = 2000;
constexpr int kWakes = 400;
constexpr std::size_t kFreshBytes = 32 * kMiB;
constexpr std::int64_t kStallNs = 1'000'000'000;
/// Stays free beside what is measured: sockets, page tables, and the guest must not be the one that
/// goes without.
constexpr std::uint64_t kSpareBytes = 64 * kMiB;

std::uint64_t stream_bytes(const vmm::GuestConfig& config) {
  return std::min<std::uint64_t>(kStreamBytesMax, config.memory_bytes);
}

double per_second(std::size_t bytes, std::int64_t ns) {
  return static_cast<double>(bytes) * 1e9 / static_cast<double>(std::max<std::int64_t>(ns, 1));
}

std::int64_t median(std::vector<std::int64_t>& values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

/// Writes something else to every word, so that nothing is a page of zeros and nothing compresses.
void fill(std::byte* data, std::size_t bytes) {
  std::uint64_t value = 0x9E3779B97F4A7C15ULL;
  for (std::size_t at = 0; at + sizeof value <= bytes; at += sizeof value) {
    value = value * 6364136223846793005ULL + 1442695040888963407ULL;
    std::memcpy(data + at, &value, sizeof value);
  }
}

Result<double> measure_memcpy() {
  GODWIT_TRY_ASSIGN(auto from, Mapping::anonymous(kMemcpyBytes));
  GODWIT_TRY_ASSIGN(auto to, Mapping::anonymous(kMemcpyBytes));
  fill(from.data(), kMemcpyBytes);
  std::memcpy(to.data(), from.data(), kMemcpyBytes);  // populates
  std::int64_t best = INT64_MAX;
  for (int i = 0; i < 3; ++i) {
    const auto began = monotonic_ns();
    std::memcpy(to.data(), from.data(), kMemcpyBytes);
    best = std::min(best, monotonic_ns() - began);
  }
  return per_second(kMemcpyBytes, best);
}

struct SocketPair {
  Fd client;
  Fd server;
};

Result<SocketPair> loopback_pair(const std::string& congestion) {
  Fd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  const auto& algorithm = congestion;
  // Accepted sockets inherit the listener's algorithm. One that is not loaded leaves the system's:
  // still a floor.
  (void)::setsockopt(listener.get(),
                     IPPROTO_TCP,
                     TCP_CONGESTION,
                     algorithm.data(),
                     static_cast<socklen_t>(algorithm.size()));
  if (!listener.valid() || ::bind(listener.get(), generic, sizeof address) != 0 ||
      ::listen(listener.get(), 1) != 0 || ::getsockname(listener.get(), generic, &length) != 0) {
    return fail_errno(errno, "loopback socket");
  }
  SocketPair pair;
  pair.client = Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  (void)::setsockopt(pair.client.get(),
                     IPPROTO_TCP,
                     TCP_CONGESTION,
                     algorithm.data(),
                     static_cast<socklen_t>(algorithm.size()));
  if (!pair.client.valid() || ::connect(pair.client.get(), generic, sizeof address) != 0) {
    return fail_errno(errno, "loopback connect");
  }
  pair.server = Fd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!pair.server.valid()) {
    return fail_errno(errno, "loopback accept");
  }
  const int one = 1;
  for (const auto* fd : {&pair.client, &pair.server}) {
    (void)::setsockopt(fd->get(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  }
  return pair;
}

bool send_all(int fd, const std::byte* data, std::size_t bytes) {
  for (std::size_t at = 0; at < bytes;) {
    const auto sent = ::send(fd, data + at, bytes - at, MSG_NOSIGNAL);
    if (sent <= 0 && errno != EINTR) {
      return false;
    }
    at += sent > 0 ? static_cast<std::size_t>(sent) : 0;
  }
  return true;
}

bool receive_all(int fd, std::byte* data, std::size_t bytes) {
  for (std::size_t at = 0; at < bytes;) {
    const auto got = ::recv(fd, data + at, bytes - at, 0);
    if (got == 0 || (got < 0 && errno != EINTR)) {
      return false;
    }
    at += got > 0 ? static_cast<std::size_t>(got) : 0;
  }
  return true;
}

Result<double> measure_stream(std::size_t bytes, const std::string& congestion) {
  GODWIT_TRY_ASSIGN(auto from, Mapping::anonymous(bytes));
  GODWIT_TRY_ASSIGN(auto to, Mapping::anonymous(bytes));
  std::memset(to.data(), 1, bytes);
  // Far larger than any cache: its start is cold again when the stream begins.
  fill(from.data(), bytes);
  GODWIT_TRY_ASSIGN(const auto pair, loopback_pair(congestion));
  std::uint64_t sent_hash = 0;
  const auto began = monotonic_ns();
  GODWIT_TRY_ASSIGN(auto sender, try_start_thread("floor sender", ThreadRole::kBulk, [&] {
                      for (std::size_t at = 0; at < bytes; at += kChunkBytes) {
                        const auto count = std::min(kChunkBytes, bytes - at);
                        sent_hash ^= XXH3_64bits(from.data() + at, count);
                        if (!send_all(pair.client.get(), from.data() + at, count)) {
                          return;
                        }
                      }
                    }));
  std::uint64_t hash = 0;
  bool whole = true;
  for (std::size_t at = 0; at < bytes && whole; at += kChunkBytes) {
    const auto count = std::min(kChunkBytes, bytes - at);
    whole = receive_all(pair.server.get(), to.data() + at, count);
    hash ^= XXH3_64bits(to.data() + at, count);
  }
  const auto took = monotonic_ns() - began;
  sender.join();
  if (!whole || hash != sent_hash) {
    return fail(ErrorCode::kIo, "loopback stream", "broke or arrived damaged");
  }
  return per_second(bytes, took);
}

Result<std::int64_t> measure_roundtrip(const std::string& congestion) {
  GODWIT_TRY_ASSIGN(const auto pair, loopback_pair(congestion));
  GODWIT_TRY_ASSIGN(auto server, try_start_thread("floor server", ThreadRole::kUrgent, [&pair] {
                      std::array<std::byte, 16> request;
                      const std::vector<std::byte> page(kPageBytes, std::byte{1});
                      while (receive_all(pair.server.get(), request.data(), request.size()) &&
                             send_all(pair.server.get(), page.data(), page.size())) {
                      }
                    }));
  const std::array<std::byte, 16> request{};
  std::vector<std::byte> page(kPageBytes);
  std::vector<std::int64_t> times;
  for (int i = 0; i < kRoundtrips; ++i) {
    const auto began = monotonic_ns();
    if (!send_all(pair.client.get(), request.data(), request.size()) ||
        !receive_all(pair.client.get(), page.data(), page.size())) {
      break;
    }
    times.push_back(monotonic_ns() - began);
  }
  ::shutdown(pair.client.get(), SHUT_RDWR);
  server.join();
  if (times.empty()) {
    return fail(ErrorCode::kIo, "loopback round trip", "the connection broke");
  }
  return median(times);
}

Result<std::int64_t> measure_wake() {
  constexpr std::size_t kBytes = kWakes * kPageBytes;
  GODWIT_TRY_ASSIGN(const auto file, create_memfd("godwit-floor", kBytes));
  GODWIT_TRY_ASSIGN(auto alias, Mapping::shared(file.get(), 0, kBytes));
  GODWIT_TRY_ASSIGN(auto guest, Mapping::shared(file.get(), 0, kBytes));
  std::memset(alias.data(), 1, kBytes);
  uffd::Features wanted;
  wanted.missing_shmem = true;
  wanted.minor_shmem = true;
  GODWIT_TRY_ASSIGN(auto uffd, uffd::Uffd::open(wanted, uffd::Mode::kUserFaultsEnough));
  GODWIT_TRY(uffd.register_range(guest.data(), kBytes, uffd::Registration::kMissingAndMinor));
  GODWIT_TRY_ASSIGN(const auto stop, EventFd::create());
  GODWIT_TRY_ASSIGN(
      auto server, try_start_thread("floor faults", ThreadRole::kUrgent, [&] {
        std::array<uffd::RawFault, 8> faults;
        for (;;) {
          std::array<pollfd, 2> polled{{{uffd.fd(), POLLIN, 0}, {stop.fd(), POLLIN, 0}}};
          if (::poll(polled.data(), polled.size(), -1) < 0 && errno != EINTR) {
            return;
          }
          if ((polled[1].revents & POLLIN) != 0) {
            return;
          }
          const auto count = uffd.read_faults(faults);
          for (std::size_t i = 0; count && i < *count; ++i) {
            const auto offset =
                (faults[i].address - reinterpret_cast<std::uintptr_t>(guest.data())) &
                ~(kPageBytes - 1);
            // EAGAIN leaves the page for its next fault, which comes at once since the waiter is
            // woken below.
            const auto done = uffd.map_existing(guest.data() + offset, kPageBytes);
            if (done.sys_errno != 0) {
              [[maybe_unused]] const auto woken = uffd.wake(guest.data() + offset, kPageBytes);
            }
          }
        }
      }));
  std::vector<std::int64_t> times;
  for (std::size_t page = 0; page < kWakes; ++page) {
    const auto* at = reinterpret_cast<const volatile char*>(guest.data() + page * kPageBytes);
    const auto began = monotonic_ns();
    (void)*at;
    times.push_back(monotonic_ns() - began);
  }
  stop.signal();
  server.join();
  return median(times);
}

Result<std::int64_t> measure_fresh_page() {
  GODWIT_TRY_ASSIGN(const auto file, create_memfd("godwit-floor", kFreshBytes));
  GODWIT_TRY_ASSIGN(auto memory, Mapping::shared(file.get(), 0, kFreshBytes));
  const auto began = monotonic_ns();
  for (std::size_t at = 0; at < kFreshBytes; at += kPageBytes) {
    *reinterpret_cast<volatile char*>(memory.data() + at) = 1;
  }
  return (monotonic_ns() - began) / static_cast<std::int64_t>(kFreshBytes / kPageBytes);
}

/// The guest beside as much CPU load as a migration brings, but without one.
Result<std::int64_t> measure_stall(vmm::Guest& guest) {
  constexpr int kLoadThreads = 2;
  std::vector<std::jthread> load;
  load.reserve(kLoadThreads);
  const auto end = Deadline::after_ns(kStallNs);
  guest.reset_stall();
  for (int i = 0; i < kLoadThreads; ++i) {
    GODWIT_TRY_ASSIGN(auto thread, try_start_thread("floor load", ThreadRole::kBulk, [end] {
                        while (!end.passed()) {
                        }
                      }));
    load.push_back(std::move(thread));
  }
  load.clear();
  std::int64_t largest = 0;
  for (const auto& vcpu : guest.telemetry().vcpus) {
    largest = std::max(largest, vcpu.largest_step_ns);
  }
  return largest;
}

}  // namespace

std::uint64_t floors_memory_bytes(const vmm::GuestConfig& config) {
  return 2 * std::max<std::uint64_t>(kMemcpyBytes, stream_bytes(config)) + kSpareBytes;
}

Result<Floors> measure_floors(vmm::Guest& guest, const std::string& congestion) {
  const auto needed = floors_memory_bytes(guest.config());
  if (const auto available = available_memory(); available < needed) {
    return fail(ErrorCode::kNoMemory,
                "--floors",
                fmt::format("measuring them beside the guest needs {}, {} are available; migrate "
                            "without --floors",
                            size_text(needed),
                            size_text(available)));
  }
  const std::string algorithm = congestion == "auto" ? "cubic" : congestion;
  Floors floors;
  GODWIT_TRY_ASSIGN(floors.memcpy_bytes_per_s, measure_memcpy());
  GODWIT_TRY_ASSIGN(floors.stream_bytes_per_s,
                    measure_stream(stream_bytes(guest.config()), algorithm));
  GODWIT_TRY_ASSIGN(floors.roundtrip_4k_ns, measure_roundtrip(algorithm));
  if (auto wake = measure_wake()) {
    floors.uffd_wake_ns = *wake;
  }
  GODWIT_TRY_ASSIGN(floors.fresh_page_ns, measure_fresh_page());
  GODWIT_TRY_ASSIGN(floors.stall_ns, measure_stall(guest));
  return floors;
}

}  // namespace godwit::app
