#pragma once

#include <cstdint>

#include "godwit/engine/ports/memory.h"

namespace godwit::app {

/// Bytes of memory that this process may still take: the least of what the host has available and
/// what every cgroup above it leaves. Source: proc(5) MemAvailable;
/// Documentation/admin-guide/cgroup-v2.rst, memory.max
std::uint64_t available_memory();
/// Bytes of address space that RLIMIT_AS leaves.
std::uint64_t available_address_space();

/// What this process holds beyond its guest's memory. Units: bytes.
struct ProcessMemory {
  std::uint64_t overhead = 0;     ///< RssAnon + RssFile, without the guest's anonymous memory
  std::uint64_t page_tables = 0;  ///< VmPTE
};
/// A memfd counts as RssShmem and is no concern here. Cost: for anonymous memory, a scan of it.
ProcessMemory process_memory(const engine::GuestMemory& guest);

/// Bytes of guest memory that are allocated now, mapped or not.
std::uint64_t allocated_bytes(const engine::GuestMemory& memory);

}  // namespace godwit::app
