#pragma once

#include <cstdint>

namespace godwit::engine {

/// How many threads serve `channels` bulk channels on `cores` processors, at either side. A lane
/// copies, hashes, verifies or places at the speed of one core, so half of the cores may have one;
/// two where there are fewer than four, since a lane often waits for its sockets.
std::uint32_t lane_count(std::uint32_t channels, std::uint32_t cores);
/// On this host.
std::uint32_t lane_count(std::uint32_t channels);

}  // namespace godwit::engine
