#pragma once

#include <cstdint>
#include <string>

#include "support/require.h"

namespace godwit::test {

/// Has at least so many huge pages of 2 MiB free in the host's pool while it lives, and gives back
/// what it added. Tests that need them take turns. reason(): why there are not enough.
class HugePages {
 public:
  explicit HugePages(std::uint64_t wanted);
  HugePages(const HugePages&) = delete;
  HugePages& operator=(const HugePages&) = delete;
  ~HugePages();

  [[nodiscard]] const std::string& reason() const { return reason_; }
  static std::uint64_t available();

 private:
  int turn_ = -1;
  std::uint64_t before_ = 0;
  bool changed_ = false;
  std::string reason_;
};

}  // namespace godwit::test

/// Leaves the test with the reason when there are no huge pages to be had.
#define GODWIT_NEED_HUGE_PAGES(name, wanted)    \
  const ::godwit::test::HugePages name(wanted); \
  if (!name.reason().empty()) {                 \
    GODWIT_MISSING("hugepages", name.reason()); \
  }                                             \
  static_assert(true)
