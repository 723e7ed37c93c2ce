#include "host/huge_pages.h"

#include <algorithm>
#include <fstream>
#include <optional>
#include <string>

#include <fmt/format.h>

#include "godwit/base/units.h"

namespace godwit::app {
namespace {

constexpr std::uint64_t kHugeBytes = 2 * kMiB;

std::optional<std::uint64_t> pool_count(const char* name) {
  std::ifstream file(std::string("/sys/kernel/mm/hugepages/hugepages-2048kB/") + name);
  std::uint64_t count = 0;
  return file >> count ? std::optional(count) : std::nullopt;
}

}  // namespace

Status check_huge_pages(std::uint64_t bytes, const char* whose) {
  constexpr const char* kOperation = "--backing hugetlb";
  const auto total = pool_count("nr_hugepages");
  const auto free = pool_count("free_hugepages");
  if (!total || !free) {
    return fail(ErrorCode::kUnsupported,
                kOperation,
                "this kernel has no huge pages of 2 MiB (CONFIG_HUGETLBFS); use --backing memfd");
  }
  const auto reserved = pool_count("resv_hugepages").value_or(0);
  const auto surplus = pool_count("surplus_hugepages").value_or(0);
  const auto overcommit = pool_count("nr_overcommit_hugepages").value_or(0);
  const auto available =
      *free - std::min(*free, reserved) + (overcommit - std::min(overcommit, surplus));
  const auto needed = (bytes + kHugeBytes - 1) / kHugeBytes;
  if (needed > available) {
    return fail(ErrorCode::kNoMemory,
                kOperation,
                fmt::format("{} {} huge pages of 2 MiB, {} are available here; as root: echo {} > "
                            "/proc/sys/vm/nr_hugepages",
                            whose,
                            needed,
                            available,
                            *total + needed - available));
  }
  return {};
}

}  // namespace godwit::app
