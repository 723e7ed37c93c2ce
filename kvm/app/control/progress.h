#pragma once

#include <cstdint>
#include <string>

#include "godwit/engine/report.h"

namespace godwit::app {

/// Shows progress lines of a migration on stderr: a bar that is redrawn on a terminal, otherwise
/// one line a second and one a phase. Thread: one.
class ProgressView {
 public:
  ProgressView();
  void show(const engine::Progress& progress);
  /// Ends the bar's line.
  void finish();

 private:
  bool terminal_;
  bool drawn_ = false;
  std::string last_phase_;
  std::int64_t last_ns_ = 0;
};

}  // namespace godwit::app
