#pragma once

#include <filesystem>
#include <string>

#include "godwit/base/clock.h"
#include "godwit/base/fd.h"
#include "godwit/base/result.h"

namespace godwit::lab {

/// A directory of this run's own under the system's temporary one, removed at the end with all that
/// is in it.
class TemporaryDirectory {
 public:
  static Result<TemporaryDirectory> create();
  TemporaryDirectory(TemporaryDirectory&& other) noexcept;
  TemporaryDirectory& operator=(TemporaryDirectory&&) = delete;
  ~TemporaryDirectory();
  [[nodiscard]] std::string file(const std::string& name) const { return (path_ / name).string(); }

 private:
  explicit TemporaryDirectory(std::filesystem::path path) : path_(std::move(path)) {}
  std::filesystem::path path_;
};

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
