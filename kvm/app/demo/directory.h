#pragma once

#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <string>
#include <utility>

#include "godwit/base/result.h"

namespace godwit::app {

/// A directory of our own for the control sockets and the target's trace. Ownership: removed
/// with what is in it.
class PrivateDirectory {
 public:
  static Result<PrivateDirectory> create() {
    const char* base = std::getenv("TMPDIR");
    auto path = std::string(base != nullptr && *base != '\0' ? base : "/tmp") + "/godwit-XXXXXX";
    if (::mkdtemp(path.data()) == nullptr) {
      return fail_errno(errno, "mkdtemp", path);
    }
    return PrivateDirectory(std::move(path));
  }
  PrivateDirectory(PrivateDirectory&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  PrivateDirectory& operator=(PrivateDirectory&&) = delete;
  ~PrivateDirectory() {
    if (!path_.empty()) {
      ::unlink(source().c_str());
      ::unlink(target().c_str());
      ::unlink(target_trace().c_str());
      ::rmdir(path_.c_str());
    }
  }
  [[nodiscard]] std::string source() const { return path_ + "/source"; }
  [[nodiscard]] std::string target() const { return path_ + "/target"; }
  [[nodiscard]] std::string target_trace() const { return path_ + "/target-trace"; }

 private:
  explicit PrivateDirectory(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

}  // namespace godwit::app
