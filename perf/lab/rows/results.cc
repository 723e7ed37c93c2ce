#include "rows/results.h"

#include <cerrno>
#include <utility>

namespace godwit::lab {

Result<Results> Results::open(const std::string& path, bool to_stdout) {
  std::FILE* file = nullptr;
  if (!path.empty()) {
    file = std::fopen(path.c_str(), "we");
    if (file == nullptr) {
      return fail_errno(errno, "results", path);
    }
  }
  return Results(file, path, to_stdout);
}

Results::Results(Results&& other) noexcept
    : file_(std::exchange(other.file_, nullptr)),
      path_(std::move(other.path_)),
      to_stdout_(other.to_stdout_) {}

Results::~Results() {
  if (file_ != nullptr) {
    std::fclose(file_);
  }
}

Status Results::write(const char* kind, const Json& row) {
  Json json;
  json["schema"] = kLabSchema;
  json["kind"] = kind;
  json.update(row);
  const auto line = json_text(json) + "\n";
  for (auto* file : {file_, to_stdout_ ? stdout : nullptr}) {
    if (file != nullptr && (std::fputs(line.c_str(), file) < 0 || std::fflush(file) != 0)) {
      return fail_errno(errno, "results", file == stdout ? "stdout" : path_);
    }
  }
  return {};
}

}  // namespace godwit::lab
