#include "link/private_network.h"

#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "godwit/base/result.h"

namespace godwit::lab {
namespace {

constexpr const char* kCongestion = "/proc/sys/net/ipv4/tcp_congestion_control";

std::string congestion_here() {
  std::ifstream file(kCongestion);
  std::string name;
  file >> name;
  return name;
}

Status raise_loopback() {
  const Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request{};
  std::strncpy(request.ifr_name, "lo", IFNAMSIZ - 1);
  request.ifr_flags = IFF_UP;
  if (!socket.valid() || ::ioctl(socket.get(), SIOCSIFFLAGS, &request) != 0) {
    return fail_errno(errno, "loopback");
  }
  return {};
}

/// Runs on a thread of its own, which alone moves to the new namespace.
Status make_here(const std::vector<std::string>& wanted, PeerNetwork& network) {
  if (::unshare(CLONE_NEWNET) != 0) {
    return fail_errno(errno, "network namespace");
  }
  GODWIT_TRY(raise_loopback());
  for (const auto& name : wanted) {
    // Refused for a name that the system does not know, or does not allow in namespaces.
    std::ofstream(kCongestion) << name << std::flush;
    network.congestion = congestion_here();
    if (network.congestion == name) {
      break;
    }
  }
  network.name_space = Fd(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  if (!network.name_space.valid()) {
    return fail_errno(errno, "network namespace");
  }
  return {};
}

}  // namespace

PeerNetwork make_peer_network(const std::string& congestion) {
  const std::vector<std::string> wanted =
      congestion == "auto" ? std::vector<std::string>{"cubic", "reno"} : std::vector{congestion};
  PeerNetwork network;
  Status made;
  std::thread([&] { made = make_here(wanted, network); }).join();
  if (!made) {
    network.name_space.reset();
    network.congestion = congestion_here();
  }
  if (std::find(wanted.begin(), wanted.end(), network.congestion) == wanted.end()) {
    network.note = fmt::format("congestion control is {}, not {}{}",
                               network.congestion,
                               wanted.front(),
                               made ? "" : ": " + made.error().message());
  }
  return network;
}

}  // namespace godwit::lab
