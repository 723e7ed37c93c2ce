#include "sockets/resolver.h"

#include <poll.h>
#include <sys/socket.h>

#include <future>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "godwit/base/fd.h"
#include "godwit/base/thread.h"

#include "loops/wait_fd.h"

namespace godwit::net {
namespace {

Lookup look_up(const Address& address, int flags) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags | AI_NUMERICSERV;
  addrinfo* list = nullptr;
  const auto port = std::to_string(address.port);
  const int status = ::getaddrinfo(address.host.c_str(), port.c_str(), &hints, &list);
  return {status, AddressList(list, &freeaddrinfo)};
}

struct Answer {
  explicit Answer(EventFd event) : ended(std::move(event)) {}
  std::promise<Lookup> promise;
  EventFd ended;
};

}  // namespace

Result<AddressList> resolve(const Address& address,
                            int flags,
                            Deadline deadline,
                            int interrupt_fd) {
  if (auto numeric = look_up(address, flags | AI_NUMERICHOST); numeric.status == 0) {
    return std::move(numeric.list);
  }
  return wait_for_lookup(
      [address, flags] { return look_up(address, flags); }, address, deadline, interrupt_fd);
}

Result<AddressList> wait_for_lookup(std::function<Lookup()> lookup,
                                    const Address& address,
                                    Deadline deadline,
                                    int interrupt_fd) {
  GODWIT_TRY_ASSIGN(auto ended, EventFd::create());
  // The thread may outlive this call: what both use belongs to both.
  const auto answer = std::make_shared<Answer>(std::move(ended));
  auto found = answer->promise.get_future();
  GODWIT_TRY_ASSIGN(
      auto thread,
      try_start_thread("godwit-lookup", ThreadRole::kBulk, [answer, lookup = std::move(lookup)] {
        answer->promise.set_value(lookup());
        answer->ended.signal();
      }));
  thread.detach();
  GODWIT_TRY_ASSIGN(const bool answered,
                    wait_fd(answer->ended.fd(), POLLIN, deadline, interrupt_fd));
  if (!answered) {
    return fail(ErrorCode::kTimeout,
                "resolve",
                fmt::format("{}: the resolver does not answer; give a numeric address, or see "
                            "/etc/resolv.conf",
                            address.host));
  }
  auto result = found.get();
  if (result.status != 0) {
    return fail(ErrorCode::kInvalidArgument,
                "resolve",
                fmt::format("{}: {}; give a numeric address or a name that resolves",
                            address.host,
                            ::gai_strerror(result.status)));
  }
  return std::move(result.list);
}

}  // namespace godwit::net
