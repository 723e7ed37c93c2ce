#pragma once

#include <sys/types.h>
#include <sys/un.h>

#include <string>

#include "godwit/base/fd.h"
#include "godwit/base/result.h"

namespace godwit::net {

/// Errors: kInvalidArgument when `path` is empty or too long.
Result<sockaddr_un> unix_address(const std::string& path);

/// A listening Unix socket (non-blocking) and its file.
/// Guarantees: only this user may connect, from the first moment on.
/// Ownership: the file is removed with it, if it is still the one that was made.
class UnixListener {
 public:
  /// The socket file of a dead process is replaced; where the kernel still takes its socket down,
  /// that is waited for, a second at most.
  /// Errors: kInvalidArgument (no path of a socket); by sys_errno EADDRINUSE (a live process serves
  /// it), EEXIST (something is there that is no socket), and what bind(2) and listen(2) give.
  static Result<UnixListener> create(const std::string& path, int backlog);
  UnixListener(UnixListener&& other) noexcept = default;
  UnixListener& operator=(UnixListener&&) = delete;
  ~UnixListener();

  [[nodiscard]] int fd() const { return socket_.get(); }

 private:
  UnixListener(Fd socket, std::string path, dev_t device, ino_t inode)
      : socket_(std::move(socket)), path_(std::move(path)), device_(device), inode_(inode) {}

  Fd socket_;
  std::string path_;
  dev_t device_;
  ino_t inode_;
};

}  // namespace godwit::net
