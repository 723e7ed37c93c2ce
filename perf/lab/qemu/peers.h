#pragma once

#include <memory>
#include <string>
#include <vector>

#include "godwit/base/result.h"

#include "qemu/guest_options.h"
#include "qemu/qemu_peer.h"
#include "qemu/qemu_run.h"
#include "rows/results.h"
#include "scenario/scenario.h"

namespace godwit::lab {

struct Side;

/// One way of a peer to migrate one point of a scenario.
struct PeerSide {
  QemuPeer program;
  QemuMode mode;
  GuestOptions options;
  [[nodiscard]] std::string name() const { return "qemu " + mode.name; }
  /// One migration.
  [[nodiscard]] PeerRun run(const Link* link, int interrupt_fd) const;
};

/// Modes of "qemu" (all of them) and "qemu:MODE", in order, each once. Errors: kInvalidArgument.
Result<std::vector<QemuMode>> parse_peers(const std::vector<std::string>& names);

/// Gives the point the congestion control that a peer's network can have here, for both sides.
void share_congestion(Point& point);

/// The sides that this host and this QEMU can measure; what cannot be is told on stderr and written
/// as a row "left_out". Errors: kInvalidArgument (options), kIo, kCancelled.
Result<std::vector<Side>> peer_sides(const std::vector<QemuMode>& modes,
                                     const std::string& program,
                                     const Point& point,
                                     int interrupt_fd,
                                     Results& results);

}  // namespace godwit::lab
