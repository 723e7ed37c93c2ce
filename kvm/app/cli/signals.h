#pragma once

#include "godwit/base/fd.h"
#include "godwit/base/result.h"

namespace godwit::app {

/// SIGINT, SIGTERM and SIGHUP (unless it was ignored) as a descriptor, so that they never interrupt
/// anything in the middle. Requires: made before the first thread starts; every thread inherits the
/// mask.
class Signals {
 public:
  static Result<Signals> create();
  /// Readable when a signal waits.
  [[nodiscard]] int fd() const { return fd_.get(); }
  /// Takes one waiting signal; 0 = none.
  int take() const;  // NOLINT(modernize-use-nodiscard): some only want it taken
  /// Undoes the mask in a child before exec.
  static void unblock();

 private:
  explicit Signals(Fd fd) : fd_(std::move(fd)) {}
  Fd fd_;
};

}  // namespace godwit::app
