#include "support/huge_pages.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <fstream>

#include <fmt/format.h>

namespace godwit::test {
namespace {

constexpr const char* kPool = "/sys/kernel/mm/hugepages/hugepages-2048kB";

std::uint64_t count(const char* name) {
  std::ifstream file(fmt::format("{}/{}", kPool, name));
  std::uint64_t value = 0;
  return file >> value ? value : 0;
}

void set(std::uint64_t pages) {
  std::ofstream(fmt::format("{}/nr_hugepages", kPool)) << pages << std::flush;
}

}  // namespace

HugePages::HugePages(std::uint64_t wanted)
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
    reason_ = fmt::format("needs root and {} free huge pages; there are {}", wanted, available());
  }
}

HugePages::~HugePages() {
  if (changed_) {
    set(before_);
  }
  if (turn_ >= 0) {
    ::close(turn_);
  }
}

std::uint64_t HugePages::available() {
  const auto free = count("free_hugepages");
  const auto reserved = count("resv_hugepages");
  return free > reserved ? free - reserved : 0;
}

}  // namespace godwit::test
