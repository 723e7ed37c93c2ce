// The guest of a PC: the shared workload, started by pc_entry.S, whose doorbells go out of a serial
// port (pc_platform.h).

#include "bare_metal.h"
#include "pc_platform.h"

namespace godwit::guest {
namespace {

constexpr uint16_t kLineStatus = kPcSerialPort + 5;
constexpr uint8_t kDataReady = 1;
constexpr uint16_t kTimerData = 0x40;
constexpr uint16_t kTimerControl = 0x43;
constexpr uint16_t kInterruptMask = 0x21;
constexpr uint8_t kAllButTimer = 0xFE;
constexpr uint8_t kRateGenerator = 0x34;  // channel 0, both bytes, mode 2
constexpr uint16_t kTimerDivisor = 1193;  // of 1.193182 MHz: a tick a millisecond

void out(uint16_t port, uint8_t value) {
  asm volatile("outb %0, %1" : : "a"(value), "d"(port) : "memory");
}

uint8_t in(uint16_t port) {
  uint8_t value;
  asm volatile("inb %1, %0" : "=a"(value) : "d"(port) : "memory");
  return value;
}

void send(uint64_t number, uint32_t digits = kPcDigits) {
  for (uint32_t i = 0; i < digits; ++i, number >>= 6) {
    out(kPcSerialPort, static_cast<uint8_t>(kPcDigitBit | (number & 0x3F)));
  }
}

/// The way out of a PC.
class SerialCalls {
 public:
  SerialCalls(const WorkloadParams& params, const WorkloadState& state)
      : state_(state), told_ticks_(params.ticks_per_ms * kPcTouchesMs) {}

  /// Until the next tick, at most a millisecond: the workload asks for no longer one.
  void sleep(uint64_t) {
    if (!ticking_) {
      // Only a guest that sleeps has a timer: one that works at full speed is never interrupted.
      ticking_ = true;
      out(kTimerControl, kRateGenerator);
      out(kTimerData, kTimerDivisor & 0xFF);
      out(kTimerData, kTimerDivisor >> 8);
      out(kInterruptMask, kAllButTimer);
    }
    asm volatile("hlt" : : : "memory");
  }
  uint32_t doorbell(uint64_t step, uint64_t counter, uint64_t, uint32_t) {
    out(kPcSerialPort, static_cast<uint8_t>(kPcStepBit | (step & kPcStepMask)));
    if (counter - told_at_ >= told_ticks_) {
      told_at_ = counter;
      tell_touches();
    }
    if (step % kPcListenSteps != 0 || (in(kLineStatus)&kDataReady) == 0) {
      return kCommandNone;
    }
    return in(kPcSerialPort) == kPcCommandSweep ? kCommandSweep : kCommandNone;
  }
  void filled() { out(kPcSerialPort, kPcFilled); }
  void report_error(uint32_t kind, uint64_t page, uint64_t expected, uint64_t found) {
    out(kPcSerialPort, kPcError);
    send(kind);
    send(page);
    send(expected);
    send(found);
  }
  void sweep_done(uint64_t checked, uint64_t mismatches, uint64_t first_bad_page) {
    out(kPcSerialPort, kPcSweepDone);
    send(checked);
    send(mismatches);
    send(first_bad_page);
  }

 private:
  void tell_touches() {
    uint64_t touches = state_.touches - told_;
    if (touches > kPcTouchesMax) {
      touches = kPcTouchesMax;
    }
    told_ += touches;
    out(kPcSerialPort, kPcTouches);
    send(touches, kPcTouchDigits);
  }

  const WorkloadState& state_;
  const uint64_t told_ticks_;
  uint64_t told_at_ = 0;  ///< the counter
  uint64_t told_ = 0;
  bool ticking_ = false;
};

}  // namespace

extern "C" void payload_main(const WorkloadParams* params, uint64_t vcpu, uint64_t start) {
  run_bare_metal(params, vcpu, start, SerialCalls(*params, block_of(params, vcpu)->state));
}

}  // namespace godwit::guest
