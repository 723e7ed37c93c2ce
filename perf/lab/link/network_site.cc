#include "link/network_site.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>

#include <fmt/format.h>

#include "godwit/base/thread.h"

#include "ground/child.h"

namespace godwit::lab {
namespace {

/// Packets that wait for the emulator: it decides what is dropped, not the device.
constexpr int kDeviceQueue = 10'000;
constexpr std::int64_t kToolTimeoutNs = 20'000'000'000;
constexpr const char* kNoIpv6 = "/proc/sys/net/ipv6/conf/default/disable_ipv6";
constexpr const char* kCongestion = "/proc/sys/net/ipv4/tcp_congestion_control";

/// Runs `body` on a thread of its own, since what it does to its namespace is for life.
Status on_thread(const std::function<Status()>& body) {
  Status done;
  GODWIT_TRY_ASSIGN(auto thread,
                    try_start_thread("site", ThreadRole::kGuest, [&] { done = body(); }));
  thread.join();
  return done;
}

ifreq request_for(const std::string& device) {
  ifreq request{};
  device.copy(request.ifr_name, IFNAMSIZ - 1);
  return request;
}

Result<Fd> control_socket() {
  Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket.valid()) {
    return fail_errno(errno, "socket");
  }
  return socket;
}

Status set_address(int socket, const std::string& device, unsigned long what, const char* address) {
  auto request = request_for(device);
  sockaddr_in in{};
  in.sin_family = AF_INET;
  ::inet_pton(AF_INET, address, &in.sin_addr);
  std::memcpy(&request.ifr_addr, &in, sizeof in);
  if (::ioctl(socket, what, &request) != 0) {
    return fail_errno(errno, "network device", fmt::format("{} {}", device, address));
  }
  return {};
}

Status switch_on(int socket, const std::string& device) {
  auto request = request_for(device);
  if (::ioctl(socket, SIOCGIFFLAGS, &request) != 0) {
    return fail_errno(errno, "network device", device);
  }
  request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP);
  if (::ioctl(socket, SIOCSIFFLAGS, &request) != 0) {
    return fail_errno(errno, "network device", device + " up");
  }
  return {};
}

bool write_setting(const char* path, std::string_view value) {
  const Fd file(::open(path, O_WRONLY | O_CLOEXEC));
  return file.valid() &&
         ::write(file.get(), value.data(), value.size()) == static_cast<ssize_t>(value.size());
}

/// The first that is not refused: a namespace may choose only what the host allows to all.
void choose_congestion(const std::vector<std::string>& names) {
  for (const auto& name : names) {
    if (write_setting(kCongestion, name)) {
      return;
    }
  }
}

}  // namespace

Result<NetworkSite> NetworkSite::create(const std::vector<std::string>& congestion) {
  Fd made;
  const auto ready = on_thread([&]() -> Status {
    if (::unshare(CLONE_NEWNET) != 0) {
      return fail_errno(
          errno, "network namespace", "cannot be made (needs CAP_SYS_ADMIN: be root)");
    }
    made = Fd(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
    if (!made.valid()) {
      return fail_errno(errno, "open", "/proc/thread-self/ns/net");
    }
    choose_congestion(congestion);
    // It would send packets of its own, and the first packet on a link starts the link's clock.
    (void)write_setting(kNoIpv6, "1");
    GODWIT_TRY_ASSIGN(const auto socket, control_socket());
    return switch_on(socket.get(), "lo");
  });
  GODWIT_TRY(ready);
  return NetworkSite(std::move(made));
}

std::string NetworkSite::path() const {
  return fmt::format("/proc/{}/fd/{}", ::getpid(), fd_.get());
}

Result<Fd> NetworkSite::open() const {
  Fd copy(::fcntl(fd_.get(), F_DUPFD_CLOEXEC, 0));
  if (!copy.valid()) {
    return fail_errno(errno, "link", "duplicating a namespace's descriptor");
  }
  return copy;
}

Result<std::string> NetworkSite::congestion() const {
  std::string name;
  GODWIT_TRY(within([&name] {
    name = congestion_here();
    return name.empty() ? Status(fail(ErrorCode::kIo, "link", "no congestion control")) : Status();
  }));
  return name;
}

Status NetworkSite::within(const std::function<Status()>& body) const {
  return on_thread([&]() -> Status {
    if (::setns(fd_.get(), CLONE_NEWNET) != 0) {
      return fail_errno(errno, "setns");
    }
    return body();
  });
}

std::string congestion_here() {
  std::ifstream file(kCongestion);
  std::string name;
  file >> name;
  return name;
}

Status bring_up(const std::string& device, const char* address) {
  GODWIT_TRY_ASSIGN(const auto socket, control_socket());
  GODWIT_TRY(set_address(socket.get(), device, SIOCSIFADDR, address));
  GODWIT_TRY(set_address(socket.get(), device, SIOCSIFNETMASK, "255.255.255.252"));
  return switch_on(socket.get(), device);
}

Result<Fd> make_tun(const std::string& device, bool bundles) {
  Fd tun(::open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK));
  if (!tun.valid()) {
    return fail_errno(errno, "/dev/net/tun", "the link emulator needs it");
  }
  auto request = request_for(device);
  request.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR;
  if (::ioctl(tun.get(), TUNSETIFF, &request) != 0) {
    return fail_errno(errno, "TUNSETIFF", device);
  }
  // Checksums are for wires; no bit flips here.
  const unsigned long offload = TUN_F_CSUM | (bundles ? TUN_F_TSO4 : 0U);
  if (::ioctl(tun.get(), TUNSETOFFLOAD, offload) != 0) {
    return fail_errno(errno, "TUNSETOFFLOAD", device);
  }
  GODWIT_TRY_ASSIGN(const auto socket, control_socket());
  request = request_for(device);
  request.ifr_qlen = kDeviceQueue;
  if (::ioctl(socket.get(), SIOCSIFTXQLEN, &request) != 0) {
    return fail_errno(errno, "network device", device + " queue length");
  }
  return tun;
}

Status run_tool(const std::string& name, const std::vector<std::string>& arguments) {
  std::vector<std::string> words;
  for (const auto* directory : {"/usr/sbin/", "/sbin/", "/usr/bin/", "/bin/"}) {
    if (::access((directory + name).c_str(), X_OK) == 0) {
      words.push_back(directory + name);
      break;
    }
  }
  if (words.empty()) {
    return fail(ErrorCode::kUnsupported, "link", name + " is missing: install iproute2");
  }
  words.insert(words.end(), arguments.begin(), arguments.end());
  GODWIT_TRY_ASSIGN(const auto ran, run_child(words, -1, Deadline::after_ns(kToolTimeoutNs)));
  if (ran.exit_code != 0) {
    return fail(ErrorCode::kIo,
                "link",
                fmt::format("{} failed with {}: {}",
                            fmt::join(words, " "),
                            ran.exit_code,
                            ran.errors.substr(0, ran.errors.find_last_not_of('\n') + 1)));
  }
  return {};
}

}  // namespace godwit::lab
