#pragma once

#include <string>

#include "godwit/base/fd.h"

namespace godwit::lab {

/// Where a peer's two processes meet: a network namespace of their own, with a loopback whose
/// congestion control the lab may choose: the system's is not the lab's to change.
struct PeerNetwork {
  Fd name_space;           ///< to be entered by setns(); invalid = the lab's own network
  std::string congestion;  ///< what new connections there use; empty = unknown
  std::string note;        ///< why it is not what was asked for; empty = it is
};

/// Makes it. `congestion`: a name, or "auto" for the first of cubic and reno that this system lets
/// a namespace have (a loopback runs at a third of its speed with bbr). Without permission the
/// lab's own network is taken as it is, and noted. Kernel: the namespace lives as long as its
/// descriptor and the processes in it.
PeerNetwork make_peer_network(const std::string& congestion);

}  // namespace godwit::lab
