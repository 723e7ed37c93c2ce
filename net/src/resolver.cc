#include "resolver.h"

#include <sys/socket.h>

#include <chrono>
#include <future>
#include <string>
#include <thread>
#include <utility>

#include <fmt/format.h>

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

}  // namespace

Result<AddressList> resolve(const Address& address, int flags, Deadline deadline) {
  if (auto numeric = look_up(address, flags | AI_NUMERICHOST); numeric.status == 0) {
    return std::move(numeric.list);
  }
  return wait_for_lookup([address, flags] { return look_up(address, flags); }, address, deadline);
}

Result<AddressList> wait_for_lookup(std::function<Lookup()> lookup,
                                    const Address& address,
                                    Deadline deadline) {
  std::promise<Lookup> promise;
  auto found = promise.get_future();
  std::thread([promise = std::move(promise), lookup = std::move(lookup)]() mutable {
    promise.set_value(lookup());
  }).detach();
  const auto left_ns = deadline.left_ns();
  if (left_ns == INT64_MAX) {
    found.wait();
  } else if (found.wait_for(std::chrono::nanoseconds(left_ns)) != std::future_status::ready) {
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
