#pragma once

#include <string>

#include "godwit/base/clock.h"
#include "godwit/base/fd.h"
#include "godwit/base/result.h"

namespace godwit::lab {

/// A UNIX stream socket that listens at `path`. Errors: kIo.
Result<Fd> listen_at(const std::string& path);

/// What a wait watches beside its own descriptor.
struct Watched {
  int interrupt_fd = -1;  ///< readable: kCancelled
  int ended_fd = -1;      ///< a process, readable when it has ended: kClosed
};

/// Waits until `fd` is readable. Errors: kTimeout, kCancelled, kClosed.
Status wait_readable(int fd, const Watched& watched, Deadline deadline);
/// Takes one connection, non-blocking. Errors: as wait_readable(), kIo.
Result<Fd> accept_one(int listener, const Watched& watched, Deadline deadline);

}  // namespace godwit::lab
