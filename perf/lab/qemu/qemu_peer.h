#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "godwit/base/result.h"
#include "godwit/json/json.h"

namespace godwit::lab {

/// A way in which QEMU migrates.
struct QemuMode {
  std::string name;       ///< "multifd-4"
  unsigned channels = 0;  ///< of multifd; 0 = none
  bool postcopy = false;
  bool preempt = false;  ///< a channel of its own for requested pages
  /// What both ends must have switched on.
  [[nodiscard]] std::vector<std::string> capabilities() const;
};

/// "precopy", "multifd-N" (1 to 64), "postcopy", "postcopy-preempt". Errors: kInvalidArgument.
Result<QemuMode> parse_qemu_mode(std::string_view name);
/// Those that are measured when none is named.
std::vector<QemuMode> all_qemu_modes();

/// A program that answered.
struct QemuPeer {
  std::string program;                 ///< path
  std::string version;                 ///< "7.2.22"
  std::set<std::string> capabilities;  ///< those that could be switched on here
  std::vector<std::string> refused;    ///< "postcopy-ram: why not", of those that could not
};

/// Starts it once without a machine and asks what it can do.
/// Errors: kUnsupported (not found, or no QEMU), kCancelled.
Result<QemuPeer> probe_qemu(const std::string& program, int interrupt_fd);

/// Why `mode` cannot be measured with this program; empty when it can.
std::string why_not(const QemuPeer& peer, const QemuMode& mode);

}  // namespace godwit::lab
