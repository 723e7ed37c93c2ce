#pragma once

#include <array>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "godwit/base/result.h"
#include "godwit/json/json.h"

#include "qemu/qmp.h"

namespace godwit::lab {

/// A way in which QEMU migrates.
struct QemuMode {
  std::string name;       ///< "multifd-4"
  unsigned channels = 0;  ///< of multifd; 0 = none
  bool postcopy = false;
  bool preempt = false;  ///< a channel of its own for requested pages
  /// What both ends must have switched on, all at once.
  [[nodiscard]] std::vector<std::string> capabilities() const;
};

/// "precopy", "multifd-N" (1 to 64), "postcopy", "postcopy-preempt", "multifd-N-postcopy". Errors:
/// kInvalidArgument.
Result<QemuMode> parse_qemu_mode(std::string_view name);
/// Those that are measured when none is named.
std::vector<QemuMode> all_qemu_modes();

/// A program that answered.
struct QemuPeer {
  std::string program;                ///< path
  std::array<unsigned, 3> release{};  ///< 7, 2, 22
  /// What it said to capabilities, alone or together ("multifd, postcopy-ram"), that it refused.
  std::map<std::string, std::string> refused;
  /// "7.2.22"
  [[nodiscard]] std::string version() const;
};

/// Starts it once without a machine and asks what it can do.
/// Errors: kUnsupported (not found, or no QEMU), kCancelled.
Result<QemuPeer> probe_qemu(const std::string& program, int interrupt_fd);

/// Switches every capability that a mode needs on alone and off again, then the sets of those modes
/// that need several: versions differ in what they allow together. Errors: as Qmp::execute(), but
/// for refusals, which are the answer.
Status probe_capabilities(Qmp& qmp, QemuPeer& peer);

/// Why `mode` cannot be measured with this program, in its own words; empty when it can.
std::string why_not(const QemuPeer& peer, const QemuMode& mode);

}  // namespace godwit::lab
