#pragma once

#include <cstdint>
#include <string>

#include "godwit/base/result.h"
#include "godwit/vmm/guest.h"

namespace godwit::lab {

/// Memory of a PC below 4 GiB; the rest is above.
inline constexpr std::uint64_t kPcLowBytes = 2ULL << 30;

struct PcImage {
  std::uint64_t data_pages = 0;  ///< what a full sweep checks
};

/// Writes the multiboot image of a guest for a PC (guest/pc_platform.h): the shared workload, laid
/// out as our own VMM does it, but above the first MiB, which is the firmware's.
/// Requires: `config` has one vCPU; the guest's counter runs at `counter_hz`.
/// Errors: kInvalidArgument (too little populated memory), kIo, kNoMemory.
Result<PcImage> write_pc_image(const vmm::GuestConfig& config,
                               std::uint64_t counter_hz,
                               const std::string& path);

/// Frequency of this processor's time-stamp counter, measured against CLOCK_MONOTONIC. Cost: 50 ms.
std::uint64_t measure_counter_hz();

}  // namespace godwit::lab
