#pragma once

#include <memory>

#include "godwit/engine/ports.h"

namespace godwit::uffd {

/// Finds the pages of memfd memory that were ever written, by asking the files where their data is.
/// Requires: every region has its fd; fds and `memory` content outlive the scan object's use.
/// Cost: two system calls a stretch of populated pages; nothing is read, holes cost nothing.
/// Kernel: SEEK_DATA on tmpfs, v3.1. Source: lseek(2)
std::unique_ptr<engine::PopulatedScan> make_memfd_scan(const engine::GuestMemory& memory);

}  // namespace godwit::uffd
