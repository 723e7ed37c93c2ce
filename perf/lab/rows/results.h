#pragma once

#include <cstdio>
#include <string>

#include "godwit/base/result.h"
#include "godwit/json/json.h"

namespace godwit::lab {

inline constexpr const char* kLabSchema = "godwit.lab.v1";

/// Rows as JSON lines, to a file, to stdout or to both; perf/README.md documents them.
/// Guarantees: a row is in the file when write() returns, so that an interrupted lab keeps what it
/// has.
class Results {
 public:
  /// Empty `path`: no file. Errors: kIo when the file cannot be made.
  static Result<Results> open(const std::string& path, bool to_stdout);
  Results(Results&& other) noexcept;
  Results& operator=(Results&&) = delete;
  ~Results();
  /// Adds "schema" and "kind" in front. Errors: kIo.
  Status write(const char* kind, const Json& row);
  [[nodiscard]] bool to_stdout() const { return to_stdout_; }

 private:
  Results(std::FILE* file, std::string path, bool to_stdout)
      : file_(file), path_(std::move(path)), to_stdout_(to_stdout) {}
  std::FILE* file_;
  std::string path_;
  bool to_stdout_;
};

}  // namespace godwit::lab
