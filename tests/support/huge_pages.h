#pragma once

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cstdint>
#include <fstream>
#include <string>

#include <gtest/gtest.h>

#include "support/require.h"

namespace godwit::test {

/// Has at least so many huge pages of 2 MiB free in the host's pool while it lives, and gives back
/// what it added. Tests that need them take turns. reason(): why there are not enough.
class HugePages {
 public:
  explicit HugePages(std::uint64_t wanted)
      : turn_(::open(kPool, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
    if (turn_ < 0) {
      reason_ = "this kernel has no huge pages of 2 MiB";
      return;
    }
    (void)::flock(turn_, LOCK_EX);
    const auto unused = available();
    before_ = count("nr_hugepages");
    if (unused < wanted) {
      set(before_ + wanted - unused);
      changed_ = true;
    }
    if (available() < wanted) {
      reason_ = "needs root and " + std::to_string(wanted) + " free huge pages; there are " +
                std::to_string(available());
    }
  }
  HugePages(const HugePages&) = delete;
  HugePages& operator=(const HugePages&) = delete;
  ~HugePages() {
    if (changed_) {
      set(before_);
    }
    if (turn_ >= 0) {
      ::close(turn_);
    }
  }

  [[nodiscard]] const std::string& reason() const { return reason_; }
  static std::uint64_t available() {
    const auto free = count("free_hugepages");
    const auto reserved = count("resv_hugepages");
    return free > reserved ? free - reserved : 0;
  }

 private:
  static constexpr const char* kPool = "/sys/kernel/mm/hugepages/hugepages-2048kB";
  static std::uint64_t count(const char* name) {
    std::ifstream file(std::string(kPool) + "/" + name);
    std::uint64_t value = 0;
    return file >> value ? value : 0;
  }
  static void set(std::uint64_t pages) {
    std::ofstream(std::string(kPool) + "/nr_hugepages") << pages << std::flush;
  }

  int turn_ = -1;
  std::uint64_t before_ = 0;
  bool changed_ = false;
  std::string reason_;
};

/// Leaves the test with the reason when there are no huge pages to be had.
#define GODWIT_NEED_HUGE_PAGES(name, wanted)    \
  const ::godwit::test::HugePages name(wanted); \
  if (!name.reason().empty()) {                 \
    GODWIT_MISSING("hugepages", name.reason()); \
  }                                             \
  static_assert(true)

}  // namespace godwit::test
