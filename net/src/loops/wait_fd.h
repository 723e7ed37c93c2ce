#pragma once

#include <poll.h>

#include <cstddef>

#include "godwit/base/clock.h"
#include "godwit/base/result.h"

namespace godwit::net {

/// Waits until one of poll(2)'s `events` is there for `fd`, an error of it included, or `deadline`
/// passes; says which. A deadline in the past looks once.
/// Errors: kCancelled when `interrupt_fd` (-1: none) becomes readable first.
Result<bool> wait_fd(int fd, short events, Deadline deadline, int interrupt_fd = -1);

/// Waits once for any of `count` descriptors. Returns how many are ready; 0 also when a signal came
/// first. Errors: only of the waiting itself.
Result<int> wait_fds(pollfd* fds, std::size_t count, Deadline deadline);

}  // namespace godwit::net
