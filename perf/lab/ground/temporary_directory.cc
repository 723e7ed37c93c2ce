#include "ground/temporary_directory.h"

#include <stdlib.h>

#include <cerrno>
#include <system_error>
#include <utility>

namespace godwit::lab {

Result<TemporaryDirectory> TemporaryDirectory::create() {
  std::error_code error;
  auto name = (std::filesystem::temp_directory_path(error) / "godwit-lab-XXXXXX").string();
  if (error || ::mkdtemp(name.data()) == nullptr) {
    return fail_errno(error ? error.value() : errno, "temporary directory", name);
  }
  return TemporaryDirectory(name);
}

TemporaryDirectory::TemporaryDirectory(TemporaryDirectory&& other) noexcept
    : path_(std::exchange(other.path_, {})) {}

TemporaryDirectory::~TemporaryDirectory() {
  if (!path_.empty()) {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
}

}  // namespace godwit::lab
