#include "godwit/base/error.h"

#include <cerrno>
#include <system_error>

#include <fmt/format.h>

namespace godwit {
namespace {

ErrorCode code_of_errno(int sys_errno) {
  switch (sys_errno) {
    case ENOMEM:
      return ErrorCode::kNoMemory;
    case EPERM:
    case EACCES:
      return ErrorCode::kPermission;
    case ENOSYS:
    case EOPNOTSUPP:
    case ENODEV:
    case ENOENT:
      return ErrorCode::kUnsupported;
    case EINVAL:
      return ErrorCode::kInvalidArgument;
    case ETIMEDOUT:
    case ETIME:
      return ErrorCode::kTimeout;
    case ECONNRESET:
    case EPIPE:
    case ENOTCONN:
    case ECONNABORTED:
      return ErrorCode::kClosed;
    case ECANCELED:
      return ErrorCode::kCancelled;
    default:
      return ErrorCode::kIo;
  }
}

}  // namespace

std::string_view error_code_name(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument:
      return "invalid-argument";
    case ErrorCode::kUnsupported:
      return "unsupported";
    case ErrorCode::kPermission:
      return "permission";
    case ErrorCode::kNoMemory:
      return "no-memory";
    case ErrorCode::kIo:
      return "io";
    case ErrorCode::kClosed:
      return "closed";
    case ErrorCode::kTimeout:
      return "timeout";
    case ErrorCode::kProtocol:
      return "protocol";
    case ErrorCode::kChecksum:
      return "checksum";
    case ErrorCode::kVersion:
      return "version";
    case ErrorCode::kRefused:
      return "refused";
    case ErrorCode::kCancelled:
      return "cancelled";
    case ErrorCode::kNotConverged:
      return "not-converged";
    case ErrorCode::kState:
      return "state";
    case ErrorCode::kHeld:
      return "held";
    case ErrorCode::kGuest:
      return "guest";
    case ErrorCode::kInternal:
      return "internal";
  }
  return "unknown";
}

std::string Error::message() const {
  std::string text = operation;
  if (!detail.empty()) {
    text += text.empty() ? detail : fmt::format(": {}", detail);
  }
  if (sys_errno != 0) {
    text += fmt::format(": {}", std::generic_category().message(sys_errno));
  }
  return text.empty() ? std::string(error_code_name(code)) : text;
}

Error make_error(
    ErrorCode code, const char* operation, std::string detail, const char* file, int line) {
  return Error{code, 0, operation, std::move(detail), file, line};
}

Error errno_error(
    int sys_errno, const char* operation, std::string detail, const char* file, int line) {
  return Error{code_of_errno(sys_errno), sys_errno, operation, std::move(detail), file, line};
}

}  // namespace godwit
