#pragma once

#include <memory>
#include <string>
#include <vector>

#include "qemu/peers.h"
#include "rows/sample.h"
#include "scenario/scenario.h"

namespace godwit::lab {

/// One of the things that are measured in turn.
struct Side {
  std::string label;  ///< "a", "b", or the name of the point
  Point point;
  std::string godwit;                              ///< path of the command
  std::shared_ptr<const PeerSide> peer = nullptr;  ///< what runs instead of godwit
};

/// How the runs went; their figures by side.
struct Measured {
  std::vector<std::vector<Sample>> samples;
  std::uint64_t failed = 0;  ///< runs that were not verified
  bool interrupted = false;
};

}  // namespace godwit::lab
