#pragma once

#include <cstdint>

namespace godwit::app {

/// Writes to `bytes` of memory and frees them, so that the pages which a measured migration takes
/// next are not those that a hypervisor below has to find first (it takes freed pages back after a
/// while, and a first touch then costs a multiple). Takes no more than half of what is available.
/// Cost: one fault a page.
void warm_memory(std::uint64_t bytes);

/// The same for what KVM allocates for the slots of a guest of `memory_bytes` that has written
/// `populated_bytes`: makes them in a machine that never runs, and frees it. The kernel takes such
/// memory from other blocks than a process's, so warm_memory() does not reach it. Does nothing
/// where KVM does not work. Cost: ten bytes a page where KVM keeps page tables of its own, next to
/// nothing elsewhere.
void warm_slots(std::uint64_t memory_bytes, std::uint64_t populated_bytes);

}  // namespace godwit::app
