#include "godwit/base/check.h"

#include <cstdio>
#include <cstdlib>

#include <fmt/format.h>

namespace godwit {

void check_failed(const char* condition, const char* file, int line) {
  fmt::print(stderr, "godwit: invariant broken: {} at {}:{}\n", condition, file, line);
  std::abort();
}

}  // namespace godwit
