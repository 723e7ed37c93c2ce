#pragma once

#include <filesystem>
#include <string>

#include "godwit/json/json.h"

namespace godwit::lab {

/// What the figures of a row depend on besides the code: CPU, cores, kernel, kind of KVM, memory,
/// governor, huge pages. What this machine does not tell is null.
/// Cost: reads a dozen files under `root` (tests give their own).
Json host_fingerprint(const std::filesystem::path& root = "/");

/// Whether something else keeps this machine busy (its load is above its number of cores):
/// wall-clock figures then say little.
bool host_is_busy(const Json& fingerprint);

/// Commit that this program was built from; "unknown" outside of a repository.
std::string build_commit();

}  // namespace godwit::lab
