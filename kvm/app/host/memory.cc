#include "host/memory.h"

#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <set>
#include <sstream>
#include <string>
#include <string_view>

#include "godwit/base/units.h"
#include "godwit/uffd/populated_scan.h"

namespace godwit::app {
namespace {

constexpr auto kUnlimited = std::numeric_limits<std::uint64_t>::max();

/// The value of "name:  12 kB" in a file like /proc/meminfo. Units: bytes.
std::uint64_t field_of(const char* path, std::string_view name, std::uint64_t fallback) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (line.size() > name.size() && line.compare(0, name.size(), name) == 0 &&
        line[name.size()] == ':') {
      std::istringstream rest(line.substr(name.size() + 1));
      std::uint64_t kib = 0;
      if (rest >> kib) {
        return kib * kKiB;
      }
    }
  }
  return fallback;
}

std::uint64_t number_in(const std::string& path) {
  std::ifstream file(path);
  std::uint64_t number = 0;
  return file >> number ? number : kUnlimited;  // "max" is no number either
}

/// The value of "name 12" in a file like memory.stat.
std::uint64_t stat_in(const std::string& path, std::string_view name) {
  std::ifstream file(path);
  std::string word;
  for (std::uint64_t number = 0; file >> word >> number;) {
    if (word == name) {
      return number;
    }
  }
  return 0;
}

/// One memory controller: where its groups lie and how its files are called.
struct MemoryController {
  const char* root;
  const char* limit;
  const char* used;
  const char* reclaimable;  ///< in memory.stat: page cache that goes away when memory is needed
};
constexpr MemoryController kVersion2{
    "/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"};
constexpr MemoryController kVersion1{"/sys/fs/cgroup/memory",
                                     "memory.limit_in_bytes",
                                     "memory.usage_in_bytes",
                                     "total_inactive_file"};

/// What a controller leaves to `group` and all above it. A group that is not seen from here (in a
/// container) limits by the root that is.
std::uint64_t headroom(const MemoryController& controller, std::string group) {
  auto least = kUnlimited;
  while (true) {
    const auto directory = controller.root + (group == "/" ? std::string() : group) + "/";
    const auto limit = number_in(directory + controller.limit);
    const auto used = number_in(directory + controller.used);
    if (limit != kUnlimited && used != kUnlimited) {
      const auto pinned =
          used - std::min(used, stat_in(directory + "memory.stat", controller.reclaimable));
      least = std::min(least, limit > pinned ? limit - pinned : 0);
    }
    if (group.empty() || group == "/") {
      return least;
    }
    const auto slash = group.rfind('/');
    group = slash == 0 || slash == std::string::npos ? "/" : group.substr(0, slash);
  }
}

/// What the memory controllers from this process's group up to the root leave.
std::uint64_t cgroup_headroom() {
  std::ifstream file("/proc/self/cgroup");
  auto least = kUnlimited;
  for (std::string line; std::getline(file, line);) {  // "4:memory:/group", "0::/group"
    const auto first = line.find(':');
    const auto second = line.find(':', first + 1);
    if (second == std::string::npos) {
      continue;
    }
    const auto names = "," + line.substr(first + 1, second - first - 1) + ",";
    if (names == ",,") {
      least = std::min(least, headroom(kVersion2, line.substr(second + 1)));
    } else if (names.find(",memory,") != std::string::npos) {
      least = std::min(least, headroom(kVersion1, line.substr(second + 1)));
    }
  }
  return least;
}

std::uint64_t file_bytes(const engine::GuestMemory& memory) {
  // stat(2): st_blocks counts these, whatever the file system.
  constexpr std::uint64_t kBlockBytes = 512;
  std::set<int> seen;
  std::uint64_t bytes = 0;
  for (const auto& region : memory.regions) {
    struct stat info {};
    if (region.fd >= 0 && seen.insert(region.fd).second && ::fstat(region.fd, &info) == 0) {
      bytes += static_cast<std::uint64_t>(info.st_blocks) * kBlockBytes;
    }
  }
  return bytes;
}

std::uint64_t anonymous_bytes(const engine::GuestMemory& memory) {
  engine::GuestMemory anonymous;
  for (const auto& region : memory.regions) {
    if (region.fd < 0) {
      anonymous.regions.push_back(region);
    }
  }
  std::uint64_t bytes = 0;
  // A failure leaves a figure too small; there is nobody to tell.
  (void)uffd::make_anonymous_scan(anonymous)->scan([&](PageRun run) { bytes += run.bytes(); });
  return bytes;
}

}  // namespace

std::uint64_t available_memory() {
  return std::min(field_of("/proc/meminfo", "MemAvailable", kUnlimited), cgroup_headroom());
}

std::uint64_t available_address_space() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) {
    return kUnlimited;
  }
  const auto used = field_of("/proc/self/status", "VmSize", 0);
  return limit.rlim_cur > used ? limit.rlim_cur - used : 0;
}

ProcessMemory process_memory(const engine::GuestMemory& guest) {
  constexpr const char* kStatus = "/proc/self/status";
  const auto anonymous = field_of(kStatus, "RssAnon", 0);
  const auto of_guest = std::min(anonymous, anonymous_bytes(guest));
  return {anonymous - of_guest + field_of(kStatus, "RssFile", 0), field_of(kStatus, "VmPTE", 0)};
}

std::uint64_t allocated_bytes(const engine::GuestMemory& memory) {
  return file_bytes(memory) + anonymous_bytes(memory);
}

}  // namespace godwit::app
