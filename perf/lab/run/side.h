#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "godwit/json/json.h"

#include "rows/sample.h"
#include "scenario/scenario.h"

namespace godwit::lab {

class Link;

/// What one migration by a peer gave: members of a row of kind "run".
struct PeerRun {
  Json peer;                         ///< name, version, mode
  std::vector<std::string> command;  ///< of the source
  Json figures = Json::object();
  Json report;         ///< raw figures, under "qemu"
  std::string reason;  ///< why it does not count; empty = it was verified
  bool interrupted = false;
};

/// Where a run of a peer takes place. Descriptors and link stay the caller's.
struct PeerPlace {
  const Link* link = nullptr;  ///< null = a loopback of the peer's own
  int cgroup_fd = -1;          ///< what all of its processes join; -1 = nothing
  int interrupt_fd = -1;       ///< readable: stop
};

/// Something other than godwit that migrates one point of a scenario in one way of its own.
class Peer {
 public:
  virtual ~Peer() = default;
  /// "qemu multifd-4"
  [[nodiscard]] virtual std::string name() const = 0;
  /// One migration. Guarantees: what it started has ended when this returns.
  [[nodiscard]] virtual PeerRun run(const PeerPlace& place) const = 0;
};

/// One of the things that are measured in turn.
struct Side {
  std::string label;  ///< "a", "b", or the name of the point
  Point point;
  std::string godwit;                          ///< path of the command
  std::shared_ptr<const Peer> peer = nullptr;  ///< what runs instead of godwit
};

/// How the runs went; their figures by side.
struct Measured {
  std::vector<std::vector<Sample>> samples;
  std::uint64_t failed = 0;  ///< runs that were not verified
  bool interrupted = false;
};

}  // namespace godwit::lab
