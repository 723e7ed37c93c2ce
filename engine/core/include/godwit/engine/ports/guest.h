#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "godwit/base/result.h"
#include "godwit/engine/ports/dirty.h"
#include "godwit/engine/ports/memory.h"
#include "godwit/wire/section.h"

/// Ports: the machine that moves, at either end.
namespace godwit::engine {

/// One piece of machine state or configuration, as it travels: opaque to the engine. A target that
/// does not know a required one refuses before handover.
using StateSection = wire::Section;

/// What the source tells of the machine before any page moves.
struct MachineDescription {
  struct Region {
    std::uint64_t gpa = 0;
    std::uint64_t page_count = 0;
  };
  std::vector<Region> regions;
  std::uint32_t vcpus = 0;
  std::string kind;  ///< "kvm" or "process"
  /// Opaque blobs for the target's VMM (name "workload": its configuration).
  std::vector<StateSection> config;
};

/// The moments of a guest's stop or start, CLOCK_MONOTONIC ns; 0 = did not happen.
struct RunEdge {
  std::int64_t first_ns = 0;  ///< the first vCPU stopped / entered
  std::int64_t last_ns = 0;   ///< the last one
};

/// A machine at the source. Thread: all calls from the migration thread.
class SourceGuest {
 public:
  virtual ~SourceGuest() = default;
  virtual MachineDescription describe() = 0;
  [[nodiscard]] virtual const GuestMemory& memory() const = 0;
  virtual PopulatedScan& populated() = 0;
  /// Null: this guest cannot be tracked here (`why` explains); only stop-and-copy and postcopy are
  /// possible.
  virtual DirtySource* dirty_source(std::string& why) = 0;
  /// Stops devices, then vCPUs; returns when all are stopped and their exits completed. Whatever it
  /// returns: unless the migration is committed, resume() follows.
  virtual Result<RunEdge> quiesce() = 0;
  virtual Result<std::vector<StateSection>> save_state() = 0;
  /// Runs the guest on after an unsuccessful migration. Legal when it runs already, and when a stop
  /// failed half-way.
  virtual Status resume() = 0;
};

/// A paused machine at the target. Thread: load and run from the target's control thread.
class TargetGuest {
 public:
  virtual ~TargetGuest() = default;
  [[nodiscard]] virtual const GuestMemory& memory() const = 0;
  /// Waits for what the making of the machine still does in the background. Called when everything
  /// of pre-copy is placed, while the guest still runs at the source (hybrid and post-copy), so
  /// that load_state() finds nothing left to wait for. Errors: the machine cannot be used.
  virtual Status prepare() { return {}; }
  /// Errors: kRefused when nothing was modified (recoverable); others leave the machine unusable.
  virtual Status load_state(std::span<const StateSection> sections) = 0;
  /// Enters all vCPUs; returns when they have been told to run. `first_ns` of run_edge() follows.
  /// Errors: kRefused when no vCPU was entered and none ever will be, so that the source may run the
  /// guest on; with others some may have been.
  virtual Status run() = 0;
  [[nodiscard]] virtual RunEdge run_edge() const = 0;
};

}  // namespace godwit::engine
