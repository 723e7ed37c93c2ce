#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace godwit::lab {

/// Where `perf/qemu` unpacks; empty when this user has no home.
std::filesystem::path qemu_cache();

/// The programs that are tried when none is named: what lies unpacked in `cache`, then the
/// system's.
std::vector<std::string> usual_qemus(const std::filesystem::path& cache);

}  // namespace godwit::lab
