#pragma once

#include <utility>

#include <tl/expected.hpp>

#include "godwit/base/error.h"

namespace godwit {

/// A value or an Error. Errors: no exception leaves project code; every fallible function returns
/// one of these.
template <typename T>
class [[nodiscard]] Result : public tl::expected<T, Error> {
 public:
  using tl::expected<T, Error>::expected;
};

using Status = Result<void>;

/// Wraps an Error for return from a function that returns any Result.
inline tl::unexpected<Error> fail(Error error) {
  return tl::unexpected<Error>(std::move(error));
}
inline tl::unexpected<Error> fail(ErrorCode code,
                                  const char* operation,
                                  std::string detail = {},
                                  const char* file = __builtin_FILE(),
                                  int line = __builtin_LINE()) {
  return fail(make_error(code, operation, std::move(detail), file, line));
}
inline tl::unexpected<Error> fail_errno(int sys_errno,
                                        const char* operation,
                                        std::string detail = {},
                                        const char* file = __builtin_FILE(),
                                        int line = __builtin_LINE()) {
  return fail(errno_error(sys_errno, operation, std::move(detail), file, line));
}

}  // namespace godwit

#define GODWIT_CONCAT_INNER(a, b) a##b
#define GODWIT_CONCAT(a, b) GODWIT_CONCAT_INNER(a, b)

/// Returns the error of `expr` from the enclosing function, if it is one.
#define GODWIT_TRY(expr)                                           \
  do {                                                             \
    auto&& godwit_try_result = (expr);                             \
    if (!godwit_try_result) {                                      \
      return ::godwit::fail(std::move(godwit_try_result.error())); \
    }                                                              \
  } while (false)

/// Declares `name` with the value of `expr`, or returns its error.
// NOLINTBEGIN(bugprone-macro-parentheses): a declaration cannot stand in them
#define GODWIT_TRY_ASSIGN(name, expr)                                                  \
  auto GODWIT_CONCAT(godwit_result_, __LINE__) = (expr);                               \
  if (!GODWIT_CONCAT(godwit_result_, __LINE__)) {                                      \
    return ::godwit::fail(std::move(GODWIT_CONCAT(godwit_result_, __LINE__).error())); \
  }                                                                                    \
  name = std::move(*GODWIT_CONCAT(godwit_result_, __LINE__))
// NOLINTEND(bugprone-macro-parentheses)
