#pragma once

#include <cstdint>

namespace godwit::app {

/// Writes to `bytes` of memory and frees them, so that the pages which a measured migration takes
/// next are not those that a hypervisor below has to find first (it takes freed pages back after a
/// while, and a first touch then costs a multiple). Takes no more than half of what is available.
/// Cost: one fault a page.
void warm_memory(std::uint64_t bytes);

}  // namespace godwit::app
