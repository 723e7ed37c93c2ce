// The guest of our own VMM: the shared workload on a vCPU without an operating system; it calls the
// VMM by the doorbell port (platform.h).

#include "bare_metal.h"

namespace godwit::guest {
namespace {

uint64_t call(uint32_t function, uint64_t a = 0, uint64_t b = 0, uint64_t c = 0, uint64_t d = 0) {
  register uint64_t command asm("r8") = 0;
  asm volatile("outl %%eax, %%dx"
               : "+r"(command)
               : "a"(function), "d"(kDoorbellPort), "b"(a), "c"(b), "S"(c), "D"(d)
               : "memory");
  return command;
}

/// The way to the VMM.
struct VmmCalls {
  void sleep(uint64_t ticks) { call(kCallSleep, ticks); }
  uint32_t doorbell(uint64_t step, uint64_t counter, uint64_t longest, uint32_t slow_count) {
    return static_cast<uint32_t>(call(kCallStep, step, counter, longest, slow_count));
  }
  void filled() { call(kCallFilled); }
  void report_error(uint32_t kind, uint64_t page, uint64_t expected, uint64_t found) {
    call(kCallError, kind, page, expected, found);
  }
  void sweep_done(uint64_t checked, uint64_t mismatches, uint64_t first_bad_page) {
    call(kCallSweepDone, checked, mismatches, first_bad_page);
  }
};

}  // namespace

extern "C" void payload_main(const WorkloadParams* params, uint64_t vcpu, uint64_t start) {
  run_bare_metal(params, vcpu, start, VmmCalls());
}

}  // namespace godwit::guest
