#pragma once

#include <sys/types.h>

#include <cstdint>
#include <utility>
#include <vector>

#include "godwit/base/result.h"

namespace godwit::lab {

/// Processes that want a core all the time, at nice 0, as a busy neighbour does. They are of the
/// session of their maker: with autogroups a session of its own would get a share of its own, and
/// nothing would be as said. Ownership: they end with the object, with the thread that made them,
/// and by themselves after `longest_ns`.
class BusyLoops {
 public:
  /// Errors: kIo (no process to be had).
  static Result<BusyLoops> start(unsigned count, std::int64_t longest_ns);
  BusyLoops(BusyLoops&& other) noexcept : pids_(std::exchange(other.pids_, {})) {}
  BusyLoops& operator=(BusyLoops&&) = delete;
  ~BusyLoops();

  [[nodiscard]] const std::vector<pid_t>& pids() const { return pids_; }
  /// CPU time that they have had, all together.
  [[nodiscard]] std::int64_t cpu_ns() const;
  /// Whether all of them still run.
  [[nodiscard]] bool alive() const;

 private:
  BusyLoops() = default;
  std::vector<pid_t> pids_;
};

}  // namespace godwit::lab
