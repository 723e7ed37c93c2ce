#include "placing/populate.h"

#include <fcntl.h>
#include <sys/mman.h>

#include <cerrno>

#include <fmt/format.h>

#include "godwit/base/clock.h"

#include "uapi.h"

namespace godwit::uffd {
namespace {

Status populate(const engine::MemoryRegion& region) {
  const auto bytes = region.page_count << kPageShift;
  // Anonymous memory has no other mapping than the guest's; nobody runs on it yet.
  auto* where = region.fd < 0 ? region.guest : region.alias;
  if (where == nullptr) {
    if (::fallocate(region.fd, 0, static_cast<off_t>(region.offset), static_cast<off_t>(bytes)) !=
        0) {
      return fail_errno(errno == ENOSPC ? ENOMEM : errno,
                        "fallocate",
                        fmt::format("{} bytes of guest memory", bytes));
    }
    return {};
  }
  // EAGAIN: a page was busy elsewhere in the kernel; what is populated stays so, and the call walks
  // over it.
  while (::madvise(where, bytes, kUapiMadvPopulateWrite) != 0) {
    switch (errno) {
      case EAGAIN:
      case EINTR:
        continue;
      case EINVAL:
        return fail(ErrorCode::kUnsupported,
                    "MADV_POPULATE_WRITE",
                    "needs Linux 5.14; run without preallocation");
      case EFAULT:  // the file system's own limit, which a touch would answer with SIGBUS
      case ENOMEM:
        return fail_errno(
            ENOMEM,
            "MADV_POPULATE_WRITE",
            fmt::format("{} bytes of guest memory; free memory or choose another host", bytes));
      default:
        return fail_errno(errno, "MADV_POPULATE_WRITE");
    }
  }
  return {};
}

}  // namespace

Result<std::int64_t> prealloc(const engine::GuestMemory& memory) {
  const auto begin = monotonic_ns();
  for (const auto& region : memory.regions) {
    GODWIT_TRY(populate(region));
  }
  return monotonic_ns() - begin;
}

Status populate_huge_page(const engine::MemoryRegion& region, std::uint64_t block) {
  const auto bytes = region.block_pages << kPageShift;
  while (::madvise(region.alias + block * bytes, bytes, kUapiMadvPopulateWrite) != 0) {
    switch (errno) {
      case EAGAIN:  // the page was busy elsewhere in the kernel
      case EINTR:
        continue;
      case EINVAL:  // before 5.14; the first touch populates
        return {};
      case EFAULT:  // what a touch would answer with SIGBUS
      case ENOMEM:
        return fail_errno(ENOMEM,
                          "MADV_POPULATE_WRITE",
                          "no huge page for this process, although the pool has them: see the "
                          "hugetlb limits of its cgroup and its memory policy");
      default:
        return fail_errno(errno, "MADV_POPULATE_WRITE");
    }
  }
  return {};
}

}  // namespace godwit::uffd
