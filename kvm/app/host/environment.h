#pragma once

#include <cstdint>
#include <string>

#include "godwit/net/transport.h"

#include "cli/command_line.h"

namespace godwit::app {

/// Decides --guest auto by what this host can do. `note` tells which and why.
/// Errors: kUnsupported when KVM was asked for and cannot be used.
Result<vmm::GuestKind> resolve_kind(GuestChoice choice, std::string& note);

/// Decides --transport auto by what this process can do. `note` says so when it is not io_uring,
/// and why. Errors: kUnsupported, kPermission when io_uring was asked for and cannot be used.
Result<net::LoopKind> resolve_transport(TransportChoice choice, std::string& note);

/// Bytes of memory that this process may still take: the least of what the host has available and
/// what every cgroup above it leaves. Source: proc(5) MemAvailable;
/// Documentation/admin-guide/cgroup-v2.rst, memory.max
std::uint64_t available_memory();
/// Bytes of address space that RLIMIT_AS leaves.
std::uint64_t available_address_space();

/// Why guests of `kind` on such memory cannot be served by userfaultfd here, or an empty string.
std::string uffd_unusable_reason(vmm::GuestKind kind, vmm::Backing backing);

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
