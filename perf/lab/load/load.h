#pragma once

#include <optional>
#include <string>

#include "godwit/base/result.h"
#include "godwit/json/json.h"

#include "load/busy_loops.h"
#include "load/cpu_group.h"
#include "load/load_spec.h"

namespace godwit::lab {

/// A host that is busy on purpose, for one run. Ownership: it ends with the object.
class Load {
 public:
  /// `longest_ns`: after that its loops end by themselves, whatever becomes of this process.
  /// Errors: as CpuGroup::create() and BusyLoops::start().
  static Result<Load> start(const LoadSpec& spec, std::int64_t longest_ns);

  /// What the processes of the run join; -1 = nothing.
  [[nodiscard]] int cgroup_fd() const { return group_ ? group_->processes_fd() : -1; }
  /// Why the run was not loaded to its end; empty = it was.
  [[nodiscard]] std::string broken_reason() const;
  /// The member `load_seen` of a row.
  [[nodiscard]] Json seen() const;

 private:
  Load() = default;
  std::optional<BusyLoops> loops_;
  std::optional<CpuGroup> group_;
};

/// Why there can be no such load here; empty when there can. Cost: makes one, for a moment.
std::string load_unusable_reason(const LoadSpec& spec);

}  // namespace godwit::lab
