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

/// A QEMU of this host, and those of the wanted modes that it has.
struct FoundPeer {
  QemuPeer program;
  std::vector<QemuMode> modes;
};

/// Those of `programs` (none named: of usual_qemus()) that answer, the newest first, each version
/// once. What does not answer, and modes that one does not have, are told on stderr and written as
/// rows "left_out". Errors: kIo, kCancelled.
Result<std::vector<FoundPeer>> find_peers(const std::vector<QemuMode>& modes,
                                          const std::vector<std::string>& programs,
                                          int interrupt_fd,
                                          Results& results);

/// The sides that these peers measure of a point: version by version, mode by mode. A point that no
/// peer can run is left out as above. Errors: kInvalidArgument (options), kIo.
Result<std::vector<Side>> peer_sides(const std::vector<FoundPeer>& peers,
                                     const Point& point,
                                     Results& results);

}  // namespace godwit::lab
