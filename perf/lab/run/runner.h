#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "godwit/base/result.h"

#include "rows/results.h"
#include "run/side.h"

namespace godwit::lab {

struct RunnerOptions {
  unsigned rounds = 5;    ///< runs of each side
  int interrupt_fd = -1;  ///< readable: stop
  std::int64_t run_timeout_ns = 600'000'000'000;
  std::string set;          ///< noted in each row
  bool was_loaded = false;  ///< by the lab itself, just now: no warning of a busy host
};

/// The order of turns: forwards, then backwards (A B B A A B ...), so that a drift of the machine
/// falls on all sides alike.
std::vector<std::size_t> turns(std::size_t sides, unsigned rounds);

/// Runs every side `rounds` times in turns, writes a row "run" for each. A run that fails or is not
/// verified is written, counted and leaves no sample. Errors: kIo (a program that cannot be
/// started, results that cannot be written).
Result<Measured> measure(const std::vector<Side>& sides,
                         const RunnerOptions& options,
                         Results& results);

}  // namespace godwit::lab
