#include "policy/lanes.h"

#include <algorithm>
#include <thread>

namespace godwit::engine {

std::uint32_t lane_count(std::uint32_t channels, std::uint32_t cores) {
  return std::min(channels, std::max(2U, cores / 2));
}

std::uint32_t lane_count(std::uint32_t channels) {
  return lane_count(channels, std::thread::hardware_concurrency());
}

}  // namespace godwit::engine
