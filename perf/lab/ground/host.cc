#include "ground/host.h"

#include <sys/utsname.h>

#include <charconv>
#include <cstdlib>
#include <fstream>
#include <thread>

#include "commit.h"

namespace godwit::lab {
namespace {

std::string first_line(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

/// The text behind "key :" in a file of such lines.
std::string field(const std::filesystem::path& path, const std::string& key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    const auto colon = line.find(':');
    if (line.compare(0, key.size(), key) != 0 || colon == std::string::npos) {
      continue;
    }
    const auto start = line.find_first_not_of(" \t", colon + 1);
    return start == std::string::npos ? std::string() : line.substr(start);
  }
  return {};
}

Json or_null(const std::string& text) {
  return text.empty() ? Json(nullptr) : Json(text);
}

Json kilobytes(const std::string& text) {
  std::uint64_t value = 0;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), value);
  return read.ec == std::errc() ? Json(value * 1024) : Json(nullptr);
}

/// The module that implements KVM here, and whether its guests have hardware page tables of their
/// own (without them each memory slot costs kernel memory by its address space).
Json kvm_kind(const std::filesystem::path& root) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(root / "sys/module", error)) {
    const auto name = entry.path().filename().string();
    if (name.compare(0, 4, "kvm_") == 0) {
      return name;
    }
  }
  return std::filesystem::exists(root / "dev/kvm", error) ? Json("built in") : Json(nullptr);
}

}  // namespace

Json host_fingerprint(const std::filesystem::path& root) {
  utsname system{};
  ::uname(&system);
  Json json;
  json["cpu"] = or_null(field(root / "proc/cpuinfo", "model name"));
  json["cores"] = std::thread::hardware_concurrency();
  json["hypervisor"] =
      field(root / "proc/cpuinfo", "flags").find(" hypervisor") != std::string::npos;
  json["kernel"] = std::string(system.release);
  json["kvm"] = kvm_kind(root);
  json["kvm_tdp_mmu"] = or_null(first_line(root / "sys/module/kvm/parameters/tdp_mmu"));
  json["memory_bytes"] = kilobytes(field(root / "proc/meminfo", "MemTotal"));
  json["governor"] =
      or_null(first_line(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"));
  json["shmem_huge_pages"] =
      or_null(first_line(root / "sys/kernel/mm/transparent_hugepage/shmem_enabled"));
  json["load_1min"] = or_null(first_line(root / "proc/loadavg").substr(0, 4));
  return json;
}

bool host_is_busy(const Json& fingerprint) {
  const auto load = text_at(fingerprint, "/load_1min");
  return std::strtod(load.c_str(), nullptr) > number_at(fingerprint, "/cores");
}

std::string build_commit() {
  return GODWIT_COMMIT;
}

}  // namespace godwit::lab
