#pragma once

#include <stddef.h>
#include <stdint.h>

#include "platform.h"
#include "workload.h"

/// What every bare-metal guest shares: registers as canaries, the counter, memory one to one.
/// Compiled for general registers only, with r12-r15 taken from the compiler: r12-r14 hold canaries
/// and r15 the generation sum, and the vector and x87 registers are left to canaries altogether.
/// Included by one source a payload, since it defines what the compiler calls.

// The compiler may call these for initialisations and copies even in freestanding code.
extern "C" inline __attribute__((used)) void* memset(void* to, int value, size_t size) {
  void* at = to;
  asm volatile("rep stosb" : "+D"(at), "+c"(size) : "a"(value) : "memory");
  return to;
}

extern "C" inline __attribute__((used)) void* memcpy(void* to, const void* from, size_t size) {
  void* at = to;
  asm volatile("rep movsb" : "+D"(at), "+S"(from), "+c"(size) : : "memory");
  return to;
}

namespace godwit::guest {

/// The memory form of FXSAVE: x87 and xmm registers. Source: SDM volume 1, 10.5.1.
struct alignas(16) FxImage {
  uint16_t control;
  uint16_t status;
  uint8_t tags;
  uint8_t reserved0;
  uint16_t opcode;
  uint64_t instruction;
  uint64_t data;
  uint32_t mxcsr;
  uint32_t mxcsr_mask;
  struct {
    uint64_t significand;
    uint16_t exponent;
    uint16_t reserved[3];
  } st[8];
  uint64_t xmm[16][2];
  uint64_t unused[12];
};
static_assert(sizeof(FxImage) == 512);

#define GODWIT_EACH_VECTOR(what)                                                           \
  what(0) what(1) what(2) what(3) what(4) what(5) what(6) what(7) what(8) what(9) what(10) \
      what(11) what(12) what(13) what(14) what(15)

inline void load_ymm_high(const uint64_t (*from)[2]) {
#define GODWIT_LOAD(n)                                     \
  asm volatile("vinsertf128 $1, %0, %%ymm" #n ", %%ymm" #n \
               :                                           \
               : "m"(*reinterpret_cast<const uint64_t(*)[2]>(from[n])));
  GODWIT_EACH_VECTOR(GODWIT_LOAD)
#undef GODWIT_LOAD
}

inline void store_ymm_high(uint64_t (*to)[2]) {
#define GODWIT_STORE(n) \
  asm volatile("vextractf128 $1, %%ymm" #n ", %0" : "=m"(*reinterpret_cast<uint64_t(*)[2]>(to[n])));
  GODWIT_EACH_VECTOR(GODWIT_STORE)
#undef GODWIT_STORE
}

#define GODWIT_READ_REGISTER(name, into) asm volatile("movq %%" name ", %0" : "=r"(into))
#define GODWIT_WRITE_REGISTER(name, from) \
  asm volatile("movq %0, %%" name : : "r"(static_cast<uint64_t>(from)))

/// Platform of the workload on bare metal. `Calls` is the way to the outside: sleep(), doorbell(),
/// filled(), report_error() and sweep_done() as VcpuWorkload wants them.
template <typename Calls>
class BareMetal {
 public:
  BareMetal(uint64_t seed, uint32_t vcpu, bool avx, const Calls& calls)
      : calls_(calls), seed_(seed), vcpu_(vcpu), avx_(avx) {}

  uint64_t now() {
    uint32_t low;
    uint32_t high;
    // Ordered after the loads of a touch: LFENCE waits for them, else a fault's time would not be
    // seen.
    asm volatile("lfence; rdtsc" : "=a"(low), "=d"(high) : : "memory");
    return static_cast<uint64_t>(high) << 32 | low;
  }
  void sleep(uint64_t ticks) { calls_.sleep(ticks); }
  Gate begin_touch() { return Gate::kGo; }
  uint64_t* words(uint64_t gpa) { return reinterpret_cast<uint64_t*>(gpa); }
  void wrote(uint64_t) {}
  uint64_t generation_sum() {
    uint64_t sum;
    GODWIT_READ_REGISTER("r15", sum);
    return sum;
  }
  void set_generation_sum(uint64_t sum) { GODWIT_WRITE_REGISTER("r15", sum); }
  uint32_t doorbell(uint64_t step, uint64_t counter, uint64_t longest, uint32_t slow_count) {
    return calls_.doorbell(step, counter, longest, slow_count);
  }
  void filled() { calls_.filled(); }
  void report_error(uint32_t kind, uint64_t page, uint64_t expected, uint64_t found) {
    calls_.report_error(kind, page, expected, found);
  }
  void sweep_done(uint64_t checked, uint64_t mismatches, uint64_t first_bad_page) {
    calls_.sweep_done(checked, mismatches, first_bad_page);
  }

  void set_canaries() {
    GODWIT_WRITE_REGISTER("r12", value(kCanaryGeneral));
    GODWIT_WRITE_REGISTER("r13", value(kCanaryGeneral + 1));
    GODWIT_WRITE_REGISTER("r14", value(kCanaryGeneral + 2));
    FxImage image = {};
    image.control = 0x37F;  // all exceptions masked, as after FNINIT
    image.mxcsr = 0x1F80;
    image.tags = 0xFF;
    for (uint32_t i = 0; i < 8; ++i) {
      image.st[i].significand = x87_significand(value(kCanaryX87 + i));
      image.st[i].exponent = kX87Exponent;
    }
    uint64_t high[16][2];
    for (uint32_t i = 0; i < 16; ++i) {
      for (uint32_t lane = 0; lane < 2; ++lane) {
        image.xmm[i][lane] = value(kCanaryXmm + i, lane);
        high[i][lane] = value(kCanaryYmmHigh + i, lane);
      }
    }
    asm volatile("fxrstor64 %0" : : "m"(image));
    if (avx_) {
      load_ymm_high(high);
    }
  }

  void check_canaries() {
    uint64_t general[3];
    GODWIT_READ_REGISTER("r12", general[0]);
    GODWIT_READ_REGISTER("r13", general[1]);
    GODWIT_READ_REGISTER("r14", general[2]);
    for (uint32_t i = 0; i < 3; ++i) {
      check(kCanaryGeneral + i, value(kCanaryGeneral + i), general[i]);
    }
    FxImage image;
    asm volatile("fxsave64 %0" : "=m"(image));
    for (uint32_t i = 0; i < 8; ++i) {
      const uint64_t expected = x87_significand(value(kCanaryX87 + i));
      check(kCanaryX87 + i, expected, image.st[i].significand);
      check(kCanaryX87 + i, kX87Exponent, image.st[i].exponent);
    }
    for (uint32_t i = 0; i < 16; ++i) {
      check(kCanaryXmm + i, value(kCanaryXmm + i), image.xmm[i][0]);
      check(kCanaryXmm + i, value(kCanaryXmm + i, 1), image.xmm[i][1]);
    }
    if (avx_) {
      uint64_t high[16][2];
      store_ymm_high(high);
      for (uint32_t i = 0; i < 16; ++i) {
        check(kCanaryYmmHigh + i, value(kCanaryYmmHigh + i), high[i][0]);
        check(kCanaryYmmHigh + i, value(kCanaryYmmHigh + i, 1), high[i][1]);
      }
    }
    uint64_t base;
    asm volatile("movq %%fs:0, %0" : "=r"(base));
    check(kCanaryFs, value(kCanaryFs), base);
    asm volatile("movq %%gs:0, %0" : "=r"(base));
    check(kCanaryGs, value(kCanaryGs), base);
  }

 private:
  uint64_t value(uint32_t number, uint32_t lane = 0) const {
    return canary_value(seed_, vcpu_, number, lane);
  }

  /// A register that is gone stays gone: it is reported once.
  void check(uint32_t number, uint64_t expected, uint64_t found) {
    const uint64_t bit = 1ULL << number;
    if (expected != found && (reported_ & bit) == 0) {
      reported_ |= bit;
      report_error(kErrorCanary, number, expected, found);
    }
  }

  Calls calls_;
  const uint64_t seed_;
  const uint32_t vcpu_;
  const bool avx_;
  uint64_t reported_ = 0;
};

inline VcpuBlock* block_of(const WorkloadParams* params, uint64_t vcpu) {
  return reinterpret_cast<VcpuBlock*>(params->blocks_gpa + vcpu * kPageBytes);
}

/// Runs the workload of vCPU `vcpu` until it is told to stop.
template <typename Calls>
void run_bare_metal(const WorkloadParams* params,
                    uint64_t vcpu,
                    uint64_t start,
                    const Calls& calls) {
  auto* block = block_of(params, vcpu);
  BareMetal<Calls> platform(
      params->seed, static_cast<uint32_t>(vcpu), (start & kStartAvx) != 0, calls);
  platform.set_canaries();
  platform.set_generation_sum(0);
  VcpuWorkload<BareMetal<Calls>> workload(
      *params, static_cast<uint32_t>(vcpu), *block, block->state, platform);
  workload.run();
}

}  // namespace godwit::guest
