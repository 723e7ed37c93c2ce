#include "support/relay.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <list>
#include <vector>

#include "godwit/base/check.h"

namespace godwit::test {
namespace {

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_port = htons(port);
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return at;
}

/// One direction of a connection.
struct Way {
  int from = -1;
  int to = -1;
  std::array<char, 65536> bytes{};
  std::size_t begin = 0;
  std::size_t end = 0;
};

struct Pair {
  Fd near;
  Fd far;
  Way there;
  Way back;
};

/// Moves what can be moved; false when the connection has ended.
bool move_bytes(Way& way) {
  if (way.begin == way.end) {
    const auto got = ::recv(way.from, way.bytes.data(), way.bytes.size(), MSG_DONTWAIT);
    if (got == 0 || (got < 0 && errno != EAGAIN)) {
      return false;
    }
    way.begin = 0;
    way.end = got < 0 ? 0 : static_cast<std::size_t>(got);
  }
  if (way.begin != way.end) {
    const auto sent = ::send(way.to,
                             way.bytes.data() + way.begin,
                             way.end - way.begin,
                             MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) {
      return false;
    }
    way.begin += sent < 0 ? 0 : static_cast<std::size_t>(sent);
  }
  return true;
}

}  // namespace

Relay::Relay(std::uint16_t to)
    : to_(to), listening_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {
  auto at = loopback(0);
  socklen_t size = sizeof at;
  auto* generic = reinterpret_cast<sockaddr*>(&at);
  GODWIT_CHECK(::bind(listening_.get(), generic, size) == 0 && ::listen(listening_.get(), 64) == 0 &&
               ::getsockname(listening_.get(), generic, &size) == 0);
  port_ = ntohs(at.sin_port);
  thread_ = std::jthread([this] { run(); });
}

Relay::~Relay() {
  stop_.store(true);
}

std::string Relay::address() const {
  return "tcp:127.0.0.1:" + std::to_string(port_);
}

void Relay::run() {
  std::list<Pair> pairs;
  while (!stop_.load()) {
    if (cut_.exchange(false)) {
      pairs.clear();
    }
    if (silent_.load()) {
      ::usleep(1000);
      continue;
    }
    std::vector<pollfd> polled{{listening_.get(), POLLIN, 0}};
    for (const auto& pair : pairs) {
      for (const auto* way : {&pair.there, &pair.back}) {
        const bool full = way->begin != way->end;
        polled.push_back({full ? way->to : way->from, static_cast<short>(full ? POLLOUT : POLLIN), 0});
      }
    }
    (void)::poll(polled.data(), polled.size(), 1);
    if (Fd near(::accept4(listening_.get(), nullptr, nullptr, SOCK_CLOEXEC)); near.valid()) {
      Fd far(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
      const auto at = loopback(to_);
      if (::connect(far.get(), reinterpret_cast<const sockaddr*>(&at), sizeof at) == 0) {
        auto& pair = pairs.emplace_back();
        pair.near = std::move(near);
        pair.far = std::move(far);
        pair.there.from = pair.back.to = pair.near.get();
        pair.there.to = pair.back.from = pair.far.get();
      }
    }
    pairs.remove_if([](Pair& pair) { return !move_bytes(pair.there) || !move_bytes(pair.back); });
  }
}

}  // namespace godwit::test
