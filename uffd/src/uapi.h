#pragma once

#include <linux/userfaultfd.h>
#include <sys/mman.h>

#include <cstdint>

/// The kernel's interface as this target uses it: the build host's header, and the constants that
/// are newer than it. What is in here is only a number; whether the running kernel knows it is
/// asked at run time.
namespace godwit::uffd {

/// Write-protect faults resolve themselves in the kernel; reported by probe_features() only. since
/// v6.7
inline constexpr std::uint64_t kUapiFeatureWpAsync = 1ULL << 15;

/// Populates page tables writable. since v5.14; spelled out because an older libc has no name for
/// it.
inline constexpr int kUapiMadvPopulateWrite = 23;

}  // namespace godwit::uffd
