#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "godwit/base/fd.h"
#include "godwit/base/result.h"

#include "load/cgroup_place.h"

namespace godwit::lab {

/// What a quota did.
struct ThrottleCounts {
  std::uint64_t periods = 0;    ///< of 100 ms in which something ran
  std::uint64_t throttled = 0;  ///< of them, those whose quota was used up
  std::int64_t throttled_ns = 0;
};

/// Reads a cpu.stat of either version.
ThrottleCounts parse_cpu_stat(std::string_view text);

/// A control group whose processes together get a quota of CPU time. Ownership: the group is
/// removed with the object, once its processes have ended; what a lab that was killed has left is
/// removed by the next one.
class CpuGroup {
 public:
  /// Makes it in the first of `places` where that is possible. `percent`: of one core.
  /// Errors: kUnsupported (no such controller), kPermission, kIo; they name the directory.
  static Result<CpuGroup> create(unsigned percent, const std::vector<CgroupPlace>& places);
  CpuGroup(CpuGroup&& other) noexcept
      : directory_(std::exchange(other.directory_, {})),
        enabled_in_(std::exchange(other.enabled_in_, {})),
        processes_(std::move(other.processes_)) {}
  CpuGroup& operator=(CpuGroup&&) = delete;
  ~CpuGroup();

  /// A process that writes "0" to it becomes a member, and its children are.
  [[nodiscard]] int processes_fd() const { return processes_.get(); }
  [[nodiscard]] const std::string& directory() const { return directory_; }
  [[nodiscard]] ThrottleCounts counts() const;

 private:
  CpuGroup() = default;
  static Result<CpuGroup> create_in(unsigned percent, const CgroupPlace& place);

  std::string directory_;
  std::string enabled_in_;  ///< where the controller was switched on for it; empty = it was on
  Fd processes_;
};

/// Those of this process.
std::vector<CgroupPlace> cgroup_places_here();

}  // namespace godwit::lab
