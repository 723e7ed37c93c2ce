#pragma once

#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include <cstdint>

/// The kernel's interface as this target uses it: the build host's header, and the constants that
/// are newer than it. What is in here is only a number; whether the running kernel knows it is
/// asked at run time.
namespace godwit::uffd {

/// Write-protect faults resolve themselves in the kernel. Brings write-protection of pages never
/// touched with it. since v6.7
inline constexpr std::uint64_t kUapiFeatureWpAsync = 1ULL << 15;

/// The argument of PAGEMAP_SCAN on /proc/PID/pagemap: struct pm_scan_arg. since v6.7
struct UapiScanArguments {
  std::uint64_t size = 0;  ///< of this structure
  std::uint64_t flags = 0;
  std::uint64_t start = 0;
  std::uint64_t end = 0;
  std::uint64_t walk_end = 0;  ///< out: where the walk ended
  std::uint64_t vec = 0;       ///< address of UapiScanRange[vec_len]
  std::uint64_t vec_len = 0;
  std::uint64_t max_pages = 0;  ///< 0 = as many as fit
  std::uint64_t category_inverted = 0;
  std::uint64_t category_mask = 0;
  std::uint64_t category_anyof_mask = 0;
  std::uint64_t return_mask = 0;
};
static_assert(sizeof(UapiScanArguments) == 96);

/// What it returns: struct page_region. since v6.7
struct UapiScanRange {
  std::uint64_t start = 0;
  std::uint64_t end = 0;
  std::uint64_t categories = 0;
};
static_assert(sizeof(UapiScanRange) == 24);

inline constexpr unsigned long kUapiPagemapScan = _IOWR('f', 16, UapiScanArguments);
/// Protects what is reported, in the same step.
inline constexpr std::uint64_t kUapiScanWpMatching = 1ULL << 0;
/// Fails with EPERM where asynchronous write-protection is not registered.
inline constexpr std::uint64_t kUapiScanCheckWpAsync = 1ULL << 1;
/// Not write-protected: written since it was.
inline constexpr std::uint64_t kUapiPageIsWritten = 1ULL << 1;
inline constexpr std::uint64_t kUapiPageIsPresent = 1ULL << 3;
inline constexpr std::uint64_t kUapiPageIsSwapped = 1ULL << 4;
inline constexpr std::uint64_t kUapiPageIsPfnzero = 1ULL << 5;

/// Populates page tables writable. since v5.14; spelled out because an older libc has no name for
/// it.
inline constexpr int kUapiMadvPopulateWrite = 23;


}  // namespace godwit::uffd
