#include "workload/throughput_book.h"

#include <algorithm>
#include <limits>

#include "godwit/vmm/throughput.h"

namespace godwit::vmm {

// The counts are cleared as time goes on.
ThroughputBook::ThroughputBook() : counts_(std::make_unique_for_overwrite<Count[]>(kIntervals)) {}

void ThroughputBook::add(std::int64_t stamp_ns, std::uint64_t touches) {
  const auto number = Throughput::number_of(stamp_ns);
  if (first_ == end_) {
    first_ = end_ = number;
  }
  if (number < first_) {
    return;
  }
  if (number >= end_) {
    for (auto passed = std::max(end_, number + 1 - kIntervals); passed <= number; ++passed) {
      slot(passed) = 0;
    }
    end_ = number + 1;
    first_ = std::max(first_, end_ - kIntervals);
  }
  constexpr std::uint64_t kMost = std::numeric_limits<Count>::max();
  auto& count = slot(number);
  count = static_cast<Count>(std::min(kMost, count + std::min(touches, kMost)));
}

}  // namespace godwit::vmm
