#pragma once

#include <netdb.h>

#include <functional>
#include <memory>

#include "godwit/base/clock.h"
#include "godwit/base/result.h"
#include "godwit/net/socket.h"

namespace godwit::net {

using AddressList = std::unique_ptr<addrinfo, decltype(&freeaddrinfo)>;

/// What one lookup brought: getaddrinfo()'s result and its list.
struct Lookup {
  int status = 0;
  AddressList list{nullptr, &freeaddrinfo};
};

/// The addresses of a TCP `address`. A numeric one is read without the resolver.
/// `flags`: getaddrinfo()'s. Errors: kInvalidArgument when the name does not resolve; kTimeout when
/// the resolver does not answer until `deadline`; kCancelled when `interrupt_fd` (-1: none) becomes
/// readable first; kIo when the host gives no thread or descriptor any more.
Result<AddressList> resolve(const Address& address,
                            int flags,
                            Deadline deadline,
                            int interrupt_fd = -1);

/// Runs `lookup` on a thread of its own, since it cannot be interrupted, and waits for it until
/// `deadline`. One that ends later is thrown away by its thread.
Result<AddressList> wait_for_lookup(std::function<Lookup()> lookup,
                                    const Address& address,
                                    Deadline deadline,
                                    int interrupt_fd = -1);

}  // namespace godwit::net
