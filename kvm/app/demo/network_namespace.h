#pragma once

#include <functional>
#include <string>

#include "godwit/base/fd.h"
#include "godwit/base/result.h"

namespace godwit::app {

/// A network namespace that a child process is started in. Control sockets are files and work from
/// any of them.
class NetworkNamespace {
 public:
  /// `name`: as `ip netns` knows it, or a path with a slash (/proc/PID/ns/net); empty = ours.
  /// Errors: kIo, kPermission, kUnsupported (no network namespace), with `option` in front.
  static Result<NetworkNamespace> open(const std::string& name, const char* option);
  /// Runs `body` in it and returns here. Errors: kPermission, kIo when it cannot be entered or
  /// left. Requires: one thread, which is all that moves.
  [[nodiscard]] Status within(const std::function<Status()>& body) const;

 private:
  NetworkNamespace(std::string name, const char* option, Fd there)
      : name_(std::move(name)), option_(option), there_(std::move(there)) {}
  std::string name_;
  const char* option_;
  Fd there_;  ///< invalid: ours
};

}  // namespace godwit::app
