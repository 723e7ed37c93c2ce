#pragma once

#include <cstdint>
#include <string>

#include "godwit/base/result.h"
#include "godwit/vmm/guest.h"

namespace godwit::app {

/// What this machine can do at best, measured beside the run that it is compared with.
struct Floors {
  double memcpy_bytes_per_s = 0;
  /// One TCP stream, cold source, populated target, hashed on both ends.
  double stream_bytes_per_s = 0;
  std::int64_t roundtrip_4k_ns = 0;  ///< median: 16 bytes there, 4 KiB back
  /// Median: from the touch of a page until it goes on; 0 where userfaultfd is missing.
  std::int64_t uffd_wake_ns = 0;
  std::int64_t fresh_page_ns = 0;  ///< mean: first write to a page of shared memory
  std::int64_t stall_ns = 0;  ///< largest step of the guest in a second beside two busy threads
};

/// The most memory that measuring takes at a time, in the process of such a guest.
std::uint64_t floors_memory_bytes(const vmm::GuestConfig& config);

/// Measures all floors. Requires: `guest` runs and nobody else calls its controls.
/// Cost: a few seconds, and floors_memory_bytes() for the moment.
/// Errors: kNoMemory when less than that is available: nothing has been taken then.
Result<Floors> measure_floors(vmm::Guest& guest, const std::string& congestion);

}  // namespace godwit::app
