#pragma once

#include "godwit/base/result.h"
#include "godwit/vmm/guest.h"

#include "scenario/scenario.h"

namespace godwit::lab {

/// What a peer needs of a scenario's options, which are those of `godwit demo`, with its defaults.
struct GuestOptions {
  vmm::GuestConfig guest;
  bool prealloc = false;
  std::uint64_t max_bandwidth = 0;  ///< bytes per second; 0 = unlimited
  std::int64_t downtime_limit_ns = 0;
  std::uint64_t switch_after_rounds = 0;
  std::string congestion;
  bool timeline = false;
};

/// Reads the options of a point. Errors: kUnsupported for what only godwit can do (more than one
/// vCPU in the lab's payload, a process guest, planted faults, a user), kInvalidArgument for a wrong
/// value.
Result<GuestOptions> guest_options(const Point& point);

}  // namespace godwit::lab
