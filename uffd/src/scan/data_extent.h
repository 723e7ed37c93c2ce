#pragma once

#include <cstdint>

#include "godwit/base/result.h"
#include "godwit/base/units.h"

namespace godwit::uffd {

/// A half-open range of bytes of a file.
struct Extent {
  std::uint64_t start = 0;
  std::uint64_t end = 0;
  [[nodiscard]] bool empty() const { return start == end; }
};

/// The first stretch of [from, end) that the file holds pages for (present or swapped), widened to
/// whole 4 KiB pages; empty at `end` if there is none. Pages that were only reserved (fallocate)
/// and never written are holes: they read zero. Thread: any; the file's position is changed, and
/// nobody may rely on it. Requires: from and end are multiples of 4 KiB. Cost: two system calls.
Result<Extent> next_data(int fd, std::uint64_t from, std::uint64_t end);

}  // namespace godwit::uffd
