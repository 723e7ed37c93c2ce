#pragma once

#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
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

/// Argument of PAGEMAP_SCAN, an ioctl of /proc/PID/pagemap. since v6.7
struct UapiPmScanArg {
  std::uint64_t size;
  std::uint64_t flags;
  std::uint64_t start;
  std::uint64_t end;
  std::uint64_t walk_end;  ///< out: where the walk stopped
  std::uint64_t vec;
  std::uint64_t vec_len;
  std::uint64_t max_pages;
  std::uint64_t category_inverted;
  std::uint64_t category_mask;
  std::uint64_t category_anyof_mask;
  std::uint64_t return_mask;
};
/// What it returns: a run of pages of equal categories. since v6.7
struct UapiPageRegion {
  std::uint64_t start;
  std::uint64_t end;
  std::uint64_t categories;
};
inline constexpr unsigned long kUapiPagemapScan = _IOWR('f', 16, UapiPmScanArg);
inline constexpr std::uint64_t kUapiPageIsPresent = 1ULL << 3;
inline constexpr std::uint64_t kUapiPageIsSwapped = 1ULL << 4;
inline constexpr std::uint64_t kUapiPageIsPfnzero = 1ULL << 5;

}  // namespace godwit::uffd
