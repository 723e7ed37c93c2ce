#include "link/private_network.h"

#include <algorithm>
#include <vector>

#include <fmt/format.h>

#include "godwit/base/result.h"

#include "link/network_site.h"

namespace godwit::lab {

PeerNetwork make_peer_network(const std::string& congestion) {
  const auto wanted = congestion == "auto" ? usual_congestion() : std::vector{congestion};
  PeerNetwork network;
  const auto made = [&]() -> Status {
    GODWIT_TRY_ASSIGN(const auto site, NetworkSite::create(wanted));
    GODWIT_TRY_ASSIGN(network.name_space, site.open());
    GODWIT_TRY_ASSIGN(network.congestion, site.congestion());
    return {};
  }();
  if (!made) {
    network.name_space.reset();
    network.congestion = congestion_here();
  }
  if (std::find(wanted.begin(), wanted.end(), network.congestion) == wanted.end()) {
    network.note = fmt::format("congestion control is {}, not {}{}",
                               network.congestion,
                               wanted.front(),
                               made ? "" : ": " + made.error().message());
  }
  return network;
}

}  // namespace godwit::lab
