#include "godwit/base/run_delay.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cstdlib>

namespace godwit {

RunDelay::RunDelay() : file_(::open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC)) {}

std::int64_t RunDelay::total_ns() const {
  std::array<char, 96> text{};
  if (::pread(file_.get(), text.data(), text.size() - 1, 0) <= 0) {
    return 0;
  }
  char* end = nullptr;
  std::strtoll(text.data(), &end, 10);  // the time on a processor comes first
  return std::strtoll(end, nullptr, 10);
}

}  // namespace godwit
