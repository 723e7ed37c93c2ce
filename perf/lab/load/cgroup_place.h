#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace godwit::lab {

/// A directory in which a control group for CPU time may be made.
struct CgroupPlace {
  std::string directory;
  bool unified = false;  ///< version 2
};

/// Where this process may try, the first one first: its own group of version 1, where that has the
/// controller `cpu`; else of version 2 its own group and those above it, since a group that has
/// processes may have none below it with a controller. `mountinfo`, `groups`: of
/// /proc/self/mountinfo and /proc/self/cgroup. Source: cgroups(7).
std::vector<CgroupPlace> cgroup_places(std::string_view mountinfo, std::string_view groups);

}  // namespace godwit::lab
