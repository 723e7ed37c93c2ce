#pragma once

namespace godwit {
[[noreturn]] void check_failed(const char* condition, const char* file, int line);
}  // namespace godwit

/// Ends the process when one of our own invariants is broken; kept on in release.
/// Never for data from a peer, a guest or the kernel: those are Errors.
#define GODWIT_CHECK(condition)                               \
  do {                                                        \
    if (!(condition)) [[unlikely]] {                          \
      ::godwit::check_failed(#condition, __FILE__, __LINE__); \
    }                                                         \
  } while (false)
