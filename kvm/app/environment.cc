#include "environment.h"

#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <set>
#include <sstream>

#include <fmt/format.h>

#include "godwit/kvm/system.h"
#include "godwit/uffd/populated_scan.h"
#include "godwit/uffd/uffd.h"

#include "units_text.h"

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

/// What the memory controllers from this process's group up to the root leave.
std::uint64_t cgroup_headroom() {
  std::ifstream file("/proc/self/cgroup");
  std::string group;
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("0::", 0) == 0) {
      group = line.substr(3);
    }
  }
  auto least = kUnlimited;
  while (!group.empty()) {
    const auto directory = "/sys/fs/cgroup" + (group == "/" ? std::string() : group);
    const auto limit = number_in(directory + "/memory.max");
    const auto used = number_in(directory + "/memory.current");
    if (limit != kUnlimited && used != kUnlimited) {
      least = std::min(least, limit > used ? limit - used : 0);
    }
    if (group == "/") {
      break;
    }
    const auto slash = group.rfind('/');
    group = slash == 0 || slash == std::string::npos ? "/" : group.substr(0, slash);
  }
  return least;
}

std::uint64_t file_bytes(const engine::GuestMemory& memory) {
  constexpr std::uint64_t kBlockBytes =
      512;  // stat(2): st_blocks counts these, whatever the file system
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

Result<vmm::GuestKind> resolve_kind(GuestChoice choice, std::string& note) {
  if (choice == GuestChoice::kProcess) {
    return vmm::GuestKind::kProcess;
  }
  const auto reason = kvm::unusable_reason();
  if (reason.empty()) {
    if (choice == GuestChoice::kAuto) {
      note = "guest: kvm (chosen by --guest auto)";
    }
    return vmm::GuestKind::kKvm;
  }
  if (choice == GuestChoice::kKvm) {
    return fail(ErrorCode::kUnsupported, "--guest kvm", reason);
  }
  note = fmt::format("guest: process (chosen by --guest auto; KVM is not usable: {})", reason);
  return vmm::GuestKind::kProcess;
}

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

std::string uffd_unusable_reason(vmm::GuestKind kind, vmm::Backing backing) {
  const auto features = uffd::probe_features(
      kind == vmm::GuestKind::kKvm ? uffd::Mode::kAllFaults : uffd::Mode::kUserFaultsEnough);
  if (!features) {
    return features.error().message();
  }
  if (backing == vmm::Backing::kMemfd && (!features->missing_shmem || !features->minor_shmem)) {
    return "userfaultfd: this kernel has no MINOR faults on shared memory; Linux 5.14 or later is "
           "needed";
  }
  return {};
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
