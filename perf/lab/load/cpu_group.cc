#include "load/cpu_group.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include <fmt/format.h>

namespace godwit::lab {
namespace {

constexpr unsigned kPeriodUs = 100'000;
constexpr const char* kName = "godwit-lab-";
/// A process leaves its group when it has ended, which its parent may hear of a moment before.
constexpr int kRemovalTries = 100;

std::string text_of(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

Status write_text(const std::string& path, const std::string& text) {
  const Fd file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!file.valid() ||
      ::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    return fail_errno(errno, "cgroup", fmt::format("writing '{}' to {}", text, path));
  }
  return {};
}

bool lists_cpu(const std::string& path) {
  std::istringstream words(text_of(path));
  for (std::string word; words >> word;) {
    if (word == "cpu") {
      return true;
    }
  }
  return false;
}

/// Groups of labs that live no more.
void remove_leftovers(const std::string& place) {
  std::error_code error;
  for (std::filesystem::directory_iterator it(place, error), end; !error && it != end;
       it.increment(error)) {
    const auto name = it->path().filename().string();
    if (!name.starts_with(kName)) {
      continue;
    }
    pid_t pid = 0;
    const auto* first = name.data() + std::string_view(kName).size();
    const auto read = std::from_chars(first, name.data() + name.size(), pid);
    if (read.ec == std::errc() && pid > 0 && ::kill(pid, 0) != 0 && errno == ESRCH) {
      ::rmdir(it->path().c_str());
    }
  }
}

}  // namespace

ThrottleCounts parse_cpu_stat(std::string_view text) {
  ThrottleCounts counts;
  std::istringstream in{std::string(text)};
  std::string name;
  for (std::uint64_t value = 0; in >> name >> value;) {
    if (name == "nr_periods") {
      counts.periods = value;
    } else if (name == "nr_throttled") {
      counts.throttled = value;
    } else if (name == "throttled_time") {  // version 1
      counts.throttled_ns = static_cast<std::int64_t>(value);
    } else if (name == "throttled_usec") {
      counts.throttled_ns = static_cast<std::int64_t>(value) * 1000;
    }
  }
  return counts;
}

Result<CpuGroup> CpuGroup::create(unsigned percent, const std::vector<CgroupPlace>& places) {
  auto refusal = fail(ErrorCode::kUnsupported,
                      "cgroup",
                      "a quota of CPU time needs the controller 'cpu' of cgroups, version 1 or 2, "
                      "and none is mounted here");
  bool tried = false;
  for (const auto& place : places) {
    auto group = create_in(percent, place);
    if (group) {
      return group;
    }
    // The nearest place says most; those behind it are tried in case they can.
    refusal = tried ? refusal : fail(group.error());
    tried = true;
  }
  return refusal;
}

Result<CpuGroup> CpuGroup::create_in(unsigned percent, const CgroupPlace& place) {
  static unsigned made = 0;
  CpuGroup group;
  if (place.unified && !lists_cpu(place.directory + "/cgroup.subtree_control")) {
    if (!lists_cpu(place.directory + "/cgroup.controllers")) {
      return fail(ErrorCode::kUnsupported, "cgroup", place.directory + " has no controller 'cpu'");
    }
    GODWIT_TRY(write_text(place.directory + "/cgroup.subtree_control", "+cpu"));
    group.enabled_in_ = place.directory;
  }
  remove_leftovers(place.directory);
  const auto directory = fmt::format("{}/{}{}-{}", place.directory, kName, ::getpid(), ++made);
  if (::mkdir(directory.c_str(), 0755) != 0) {
    return fail_errno(errno, "cgroup", directory + " cannot be made (be root)");
  }
  group.directory_ = directory;
  const auto quota_us = percent * (kPeriodUs / 100);
  if (place.unified) {
    GODWIT_TRY(write_text(directory + "/cpu.max", fmt::format("{} {}", quota_us, kPeriodUs)));
  } else {
    GODWIT_TRY(write_text(directory + "/cpu.cfs_period_us", std::to_string(kPeriodUs)));
    GODWIT_TRY(write_text(directory + "/cpu.cfs_quota_us", std::to_string(quota_us)));
  }
  const auto path = directory + "/cgroup.procs";
  group.processes_ = Fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!group.processes_.valid()) {
    return fail_errno(errno, "cgroup", path);
  }
  return group;
}

CpuGroup::~CpuGroup() {
  processes_.reset();
  for (int i = 0; !directory_.empty() && i < kRemovalTries; ++i) {
    if (::rmdir(directory_.c_str()) == 0 || errno != EBUSY) {
      break;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  if (!enabled_in_.empty()) {
    (void)write_text(enabled_in_ + "/cgroup.subtree_control", "-cpu");
  }
}

ThrottleCounts CpuGroup::counts() const {
  return parse_cpu_stat(text_of(directory_ + "/cpu.stat"));
}

std::vector<CgroupPlace> cgroup_places_here() {
  return cgroup_places(text_of("/proc/self/mountinfo"), text_of("/proc/self/cgroup"));
}

}  // namespace godwit::lab
