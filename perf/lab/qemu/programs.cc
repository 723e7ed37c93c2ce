#include "qemu/programs.h"

#include <algorithm>
#include <cstdlib>
#include <system_error>

namespace godwit::lab {
namespace {

constexpr const char* kProgram = "qemu-system-x86_64";

std::filesystem::path from_environment(const char* name) {
  const auto* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

}  // namespace

std::filesystem::path qemu_cache() {
  auto cache = from_environment("XDG_CACHE_HOME");
  if (const auto home = from_environment("HOME"); cache.empty() && !home.empty()) {
    cache = home / ".cache";
  }
  return cache.empty() ? cache : cache / "godwit" / "qemu";
}

std::vector<std::string> usual_qemus(const std::filesystem::path& cache) {
  std::vector<std::string> programs;
  std::error_code none;
  for (std::filesystem::directory_iterator it(cache, none), end; !none && it != end;
       it.increment(none)) {
    std::error_code unreadable;
    if (const auto program = it->path() / kProgram; std::filesystem::exists(program, unreadable)) {
      programs.push_back(program.string());
    }
  }
  std::sort(programs.begin(), programs.end());
  programs.emplace_back(kProgram);
  return programs;
}

}  // namespace godwit::lab
