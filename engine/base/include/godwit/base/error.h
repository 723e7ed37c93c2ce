#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace godwit {

/// What kind of wrong: callers branch on this, people read Error::message().
enum class ErrorCode : std::uint16_t {
  kInvalidArgument = 1,  ///< a caller's or a user's value is off
  kUnsupported,          ///< this host lacks something (KVM, userfaultfd, io_uring, a feature)
  kPermission,           ///< present but forbidden
  kNoMemory,
  kIo,            ///< a system call failed
  kClosed,        ///< the peer closed or the link broke
  kTimeout,       ///< no progress within the deadline
  kProtocol,      ///< the peer broke the protocol
  kChecksum,      ///< bytes arrived damaged
  kVersion,       ///< no common protocol version or feature
  kRefused,       ///< the peer said no, with a reason
  kCancelled,     ///< somebody asked to stop
  kNotConverged,  ///< pre-copy did not reach the downtime limit
  kState,         ///< not legal in the present state
  kHeld,          ///< both sides hold after the decision to commit
  kGuest,         ///< the guest itself reported damage
  kInternal,
};

/// Short stable name of a code ("checksum"), used in reports and on the wire's refusals.
std::string_view error_code_name(ErrorCode code);

/// One failure: code, errno, the operation and where it was noticed. Small; copied freely.
struct Error {
  ErrorCode code = ErrorCode::kInternal;
  int sys_errno = 0;           ///< 0 when no system call was involved
  const char* operation = "";  ///< static string: "userfaultfd", "UFFDIO_COPY", "connect"
  std::string detail;          ///< what happened and what to do, for people; may be empty
  const char* file = "";
  int line = 0;

  /// "operation: detail: strerror(errno)"; parts that are empty are left out.
  [[nodiscard]] std::string message() const;
};

/// Makes an Error at the caller's place.
Error make_error(ErrorCode code,
                 const char* operation,
                 std::string detail = {},
                 const char* file = __builtin_FILE(),
                 int line = __builtin_LINE());

/// Makes an Error from errno (`sys_errno`): ENOMEM, EPERM/EACCES, ENOSYS and so on map to their
/// code, others to kIo.
Error errno_error(int sys_errno,
                  const char* operation,
                  std::string detail = {},
                  const char* file = __builtin_FILE(),
                  int line = __builtin_LINE());

}  // namespace godwit
