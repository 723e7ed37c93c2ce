#pragma once

#include <stdint.h>

#include "workload.h"

/// What the KVM payload and its VMM agree on beside the workload: the doorbell, the start, the
/// canaries.
///
/// The payload is entered in long mode at CPL 3 with IOPL 3. It talks to the VMM by an OUT of eax
/// to kDoorbellPort: eax holds the function, the arguments are in rbx, rcx, rsi and rdi, and r8
/// (zero before) returns a command.
namespace godwit::guest {

inline constexpr uint16_t kDoorbellPort = 0x510;

/// The functions, each with its arguments. kCallStep returns a command.
inline constexpr uint32_t kCallStep = 1;       ///< step, counter, longest touch, slow touches
inline constexpr uint32_t kCallSleep = 2;      ///< ticks
inline constexpr uint32_t kCallFilled = 3;     ///< the vCPU's slice is filled
inline constexpr uint32_t kCallError = 4;      ///< kind, page, expected, found
inline constexpr uint32_t kCallSweepDone = 5;  ///< checked, mismatches, first bad page
inline constexpr uint32_t kCallEnded = 6;      ///< the workload was told to stop

/// Where the payload is linked to and starts: guest-physical.
inline constexpr uint64_t kPayloadGpa = 0x1000;
/// At entry rdi = address of the parameters, rsi = vCPU, rdx = kStartAvx or 0.
inline constexpr uint64_t kStartAvx = 1;

/// Canaries: registers that the payload fills once and never changes. If a migration loses one, the
/// next step reports it.
inline constexpr uint32_t kCanaryGeneral = 0;  ///< r12, r13, r14
inline constexpr uint32_t kCanaryXmm = 3;      ///< xmm0 .. xmm15
/// Upper halves of ymm0 .. ymm15, where there is AVX.
inline constexpr uint32_t kCanaryYmmHigh = 19;
inline constexpr uint32_t kCanaryX87 = 35;  ///< st0 .. st7
/// Segment bases: each points to a word of the vCPU's block.
inline constexpr uint32_t kCanaryFs = 43;
inline constexpr uint32_t kCanaryGs = 44;
inline constexpr uint32_t kCanaryCount = 45;

/// The value of a canary, never zero; `lane` 1 is the upper half of a 128-bit one.
inline uint64_t canary_value(uint64_t seed, uint32_t vcpu, uint32_t number, uint32_t lane = 0) {
  return mix64(mix64(seed ^ 0x7972616E6163ULL) + vcpu * 4096ULL + number * 2ULL + lane) | 1;
}

/// An x87 register holds 64 bits of significand with the top bit set; the exponent stands for 2^62.
inline constexpr uint16_t kX87Exponent = 0x403D;
inline uint64_t x87_significand(uint64_t canary) {
  return canary | (1ULL << 63);
}

}  // namespace godwit::guest
