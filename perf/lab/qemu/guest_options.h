#pragma once

#include "godwit/base/result.h"
#include "godwit/vmm/guest.h"

#include "scenario/scenario.h"

namespace godwit::lab {

/// What a peer needs of a scenario's options; the defaults are those of `godwit demo`.
struct GuestOptions {
  vmm::GuestConfig guest;
  bool prealloc = false;
  std::uint64_t max_bandwidth = 0;  ///< bytes per second; 0 = unlimited
  std::int64_t downtime_limit_ns = 300'000'000;
  std::uint64_t switch_after_rounds = 2;
  std::string congestion = "auto";
  bool timeline = false;
};

/// "1GiB", "4096" or a number. Errors: kInvalidArgument.
Result<std::uint64_t> size_of(const Json& value);

/// Reads the options of a point. Errors: kUnsupported for what only godwit can do (more than one
/// vCPU in the lab's payload, a process guest, planted faults), kInvalidArgument for a wrong value.
Result<GuestOptions> guest_options(const Point& point);

}  // namespace godwit::lab
