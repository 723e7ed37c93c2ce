#pragma once

#include <cstdint>

#include "godwit/base/result.h"
#include "godwit/base/units.h"

/// Ports: how written pages are found. The ways to do it are compared in docs/dirty-tracking.md.
namespace godwit::engine {

/// Where producers mark written pages. Lock-free; any thread.
class DirtySink {
 public:
  virtual ~DirtySink() = default;
  /// Bit i of `mask` = page 64 * word + i of `region`.
  virtual void mark(RegionIndex region, std::uint64_t word, std::uint64_t mask) = 0;
};

/// A way to learn which pages were written. Order is correctness: see docs/dirty-tracking.md.
/// Thread: start, sync, stop from the migration thread.
class DirtySource {
 public:
  virtual ~DirtySource() = default;
  /// Guarantees: every write that starts after the return is marked in `sink` by a later sync() at
  /// the latest.
  virtual Status start(DirtySink& sink) = 0;
  /// Guarantees: every write that ended before the call is marked on return, and its page is
  /// re-armed before the caller reads it, so that any later write will be marked again.
  virtual Status sync() = 0;
  /// Ends tracking; joins producers. Idempotent. The guest may be running or not.
  virtual void stop() = 0;
  [[nodiscard]] virtual const char* name() const = 0;  ///< "log", "wp", ...: for the report
};

}  // namespace godwit::engine
