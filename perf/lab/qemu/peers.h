#pragma once

#include <string>
#include <vector>

#include "godwit/base/result.h"

#include "qemu/qemu_peer.h"
#include "rows/results.h"
#include "run/side.h"
#include "scenario/scenario.h"

namespace godwit::lab {

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
