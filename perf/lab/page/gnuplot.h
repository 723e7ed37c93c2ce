#pragma once

#include <string>

#include "godwit/base/result.h"

namespace godwit::lab {

/// gnuplot of this machine, which draws the plots of a report.
class Gnuplot {
 public:
  /// From PATH. Errors: kUnsupported, which says what to install, when there is none.
  static Result<Gnuplot> find();
  /// Runs a script and gives what it printed. Errors: kIo with gnuplot's own words when it fails,
  /// is interrupted or takes longer than half a minute.
  [[nodiscard]] Result<std::string> run(const std::string& script, int interrupt_fd) const;

 private:
  explicit Gnuplot(std::string program) : program_(std::move(program)) {}
  std::string program_;
};

}  // namespace godwit::lab
