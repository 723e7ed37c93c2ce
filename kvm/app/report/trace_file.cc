#include "report/trace_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <fstream>

#include <fmt/format.h>

#include "godwit/base/fd.h"

#include "cli/exit_code.h"
#include "cli/output.h"

namespace godwit::app {
namespace {

/// The file beside `path` that takes its place once it is complete.
std::string partial_path(const std::string& path) {
  return fmt::format("{}.{}.part", path, ::getpid());
}

Result<Fd> create(const std::string& partial) {
  Fd file(::open(partial.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0666));
  if (!file.valid()) {
    return fail_errno(errno, "--trace", partial);
  }
  return file;
}

Status write_all(const Fd& file, std::string_view text) {
  while (!text.empty()) {
    const auto wrote = ::write(file.get(), text.data(), text.size());
    if (wrote < 0 && errno == EINTR) {
      continue;
    }
    if (wrote < 0) {
      return fail_errno(errno, "--trace");
    }
    text.remove_prefix(static_cast<std::size_t>(wrote));
  }
  return {};
}

}  // namespace

Status check_trace_path(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode)) {
    return fail(ErrorCode::kIo, "--trace", fmt::format("{} is there and is no file", path));
  }
  const auto partial = partial_path(path);
  GODWIT_TRY(create(partial));
  ::unlink(partial.c_str());
  return {};
}

Status write_trace(const std::string& path, const Json& trace) {
  const auto partial = partial_path(path);
  GODWIT_TRY_ASSIGN(const auto file, create(partial));
  auto wrote = write_all(file, json_text(trace) + "\n");
  if (wrote && std::rename(partial.c_str(), path.c_str()) != 0) {
    wrote = fail_errno(errno, "--trace", path);
  }
  if (!wrote) {
    ::unlink(partial.c_str());
  }
  return wrote;
}

int keep_trace(const std::string& path, const Result<Json>& trace, int code) {
  const auto wrote = trace ? write_trace(path, *trace) : Status(fail(trace.error()));
  if (!wrote) {
    complain(wrote.error().message());
    return code == kExitOk ? static_cast<int>(kExitEnvironment) : code;
  }
  return code;
}

Result<Json> read_trace(const std::string& path) {
  std::ifstream file(path);
  if (!file) {
    return fail(ErrorCode::kIo, "--trace", fmt::format("{} cannot be read", path));
  }
  auto json = parse_json(file);
  if (!json.is_object()) {
    return fail(ErrorCode::kProtocol, "--trace", fmt::format("{} holds no trace", path));
  }
  return json;
}

}  // namespace godwit::app
