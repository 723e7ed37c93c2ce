#pragma once

#include <stdint.h>

/// What the payload of a PC (another VMM, which boots a multiboot image) and the lab agree on.
///
/// The image is one file, loaded at kPcImageGpa: code, page tables, stack, parameters and the
/// vCPU's block. The stub (pc_entry.S) takes PcBoot from its start, enters long mode, and leaves to
/// CPL 3 for good, but for sleeping: a HLT there is a general protection fault, whose handler halts
/// until the next tick of the timer.
///
/// Doorbells are bytes at the first serial port, one a step, because each byte costs an exit to the
/// VMM: 0x80 | the low seven bits of the step's number. Anything else is a message: a byte of
/// PcMessage, then its numbers, each as kPcDigits bytes of 0x40 | six bits, the lowest first (in
/// kPcTouches as kPcTouchDigits bytes, since it is sent often). Once every kPcListenSteps steps the
/// guest looks whether a command (a byte) has arrived.
namespace godwit::guest {

inline constexpr uint64_t kPcImageGpa = 0x100000;
/// Where PcBoot lies in the image.
inline constexpr uint64_t kPcBootOffset = 64;
inline constexpr uint16_t kPcSerialPort = 0x3F8;
inline constexpr uint8_t kPcStepBit = 0x80;
inline constexpr uint32_t kPcStepMask = 0x7F;
inline constexpr uint32_t kPcDigits = 11;  ///< of six bits: 64 bits
inline constexpr uint8_t kPcDigitBit = 0x40;
inline constexpr uint32_t kPcListenSteps = 64;
inline constexpr uint8_t kPcCommandSweep = 's';

/// Messages; the number of numbers that follow.
inline constexpr uint8_t kPcFilled = 1;     ///< 0
inline constexpr uint8_t kPcError = 2;      ///< 4: kind, page, expected, found
inline constexpr uint8_t kPcSweepDone = 3;  ///< 3: checked, mismatches, first bad page
/// 1: what the guest touched since the message before, at most kPcTouchesMax; after the step that
/// ends a stretch of kPcTouchesMs or more.
inline constexpr uint8_t kPcTouches = 4;
inline constexpr uint32_t kPcTouchDigits = 3;
inline constexpr uint64_t kPcTouchesMax = (1U << (6 * kPcTouchDigits)) - 1;
inline constexpr uint64_t kPcTouchesMs = 10;

/// Filled in by whoever writes the image.
struct PcBoot {
  uint64_t tables_gpa;
  uint64_t stack_gpa;  ///< its end
  uint64_t params_gpa;
  uint64_t fs_base;  ///< addresses of the canaries in the vCPU's block
  uint64_t gs_base;
};

}  // namespace godwit::guest
