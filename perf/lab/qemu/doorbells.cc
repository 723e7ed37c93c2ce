#include "qemu/doorbells.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "guest/pc_platform.h"
#include "guest/workload.h"

namespace godwit::lab {
namespace {

constexpr std::size_t kUnknown = SIZE_MAX;

/// Digits of a message's numbers.
std::size_t digits_of(std::uint8_t kind) {
  switch (kind) {
    case guest::kPcFilled:
      return 0;
    case guest::kPcSweepDone:
      return std::size_t{3} * guest::kPcDigits;
    case guest::kPcError:
      return std::size_t{4} * guest::kPcDigits;
    case guest::kPcTouches:
      return guest::kPcTouchDigits;
    default:
      return kUnknown;
  }
}

}  // namespace

void Doorbells::feed(End end, std::span<const std::uint8_t> bytes, std::int64_t stamp_ns) {
  for (const auto byte : bytes) {
    const bool is_step = (byte & guest::kPcStepBit) != 0;
    const bool is_digit = !is_step && (byte & guest::kPcDigitBit) != 0;
    if (kind_ != 0 && !is_digit) {
      wrong(fmt::format("message {} ends in the middle", kind_));
      kind_ = 0;
    }
    if (is_step) {
      step(end, byte & guest::kPcStepMask, stamp_ns);
    } else if (is_digit) {
      digit(byte & 0x3F);
    } else {
      begin(byte);
    }
  }
}

void Doorbells::step(End end, std::uint8_t low, std::int64_t stamp_ns) {
  ++steps_;
  if ((steps_ & guest::kPcStepMask) != low) {
    const auto missing = (low - steps_) & guest::kPcStepMask;
    wrong(fmt::format("step {} follows step {}", steps_ + missing, steps_ - 1));
    steps_ += missing;
  }
  stamps_[static_cast<std::size_t>(end)].push_back(stamp_ns);
  untold_.push_back(stamp_ns);
}

void Doorbells::begin(std::uint8_t kind) {
  const auto digits = digits_of(kind);
  if (digits == kUnknown) {
    wrong(fmt::format("unknown byte {:#x} from the serial port", kind));
    return;
  }
  kind_ = kind;
  digits_ = 0;
  numbers_ = {};
  if (digits == 0) {
    message();
  }
}

void Doorbells::digit(std::uint8_t bits) {
  if (kind_ == 0) {
    wrong("a number that belongs to no message");
    return;
  }
  const auto shift = digits_ % guest::kPcDigits * 6;
  numbers_[digits_ / guest::kPcDigits] |= static_cast<std::uint64_t>(bits) << shift;
  ++digits_;
  if (digits_ == digits_of(kind_)) {
    message();
  }
}

void Doorbells::message() {
  switch (std::exchange(kind_, 0)) {
    case guest::kPcFilled:
      filled_ = true;
      break;
    case guest::kPcSweepDone:
      sweep_ = {true, numbers_[0], numbers_[1], numbers_[2]};
      break;
    case guest::kPcTouches:
      book_touches(numbers_[0]);
      break;
    default:
      if (numbers_[0] == guest::kErrorPage && numbers_[3] == guest::kNoGeneration) {
        wrong(fmt::format(
            "data page {} is damaged: generation {} expected", numbers_[1], numbers_[2]));
      } else if (numbers_[0] == guest::kErrorPage) {
        wrong(fmt::format("data page {} holds generation {}, {} expected",
                          numbers_[1],
                          numbers_[3],
                          numbers_[2]));
      } else if (numbers_[0] == guest::kErrorCanary) {
        wrong(fmt::format("canary register {} holds {:#x}, {:#x} expected",
                          numbers_[1],
                          numbers_[3],
                          numbers_[2]));
      } else {
        wrong(fmt::format("the guest found error {} at {}: {:#x}, {:#x} expected",
                          numbers_[0],
                          numbers_[1],
                          numbers_[3],
                          numbers_[2]));
      }
  }
}

void Doorbells::book_touches(std::uint64_t touches) {
  std::uint64_t booked = 0;
  for (std::size_t i = 0; i < untold_.size(); ++i) {
    const auto until_here = touches * (i + 1) / untold_.size();
    intervals_[vmm::Throughput::number_of(untold_[i])] += until_here - booked;
    booked = until_here;
  }
  untold_.clear();
}

void Doorbells::wrong(std::string text) {
  ++errors_;
  if (error_.empty()) {
    error_ = std::move(text);
  }
}

std::int64_t Doorbells::gap_ns() const {
  const auto& [source, target] = stamps_;
  return source.empty() || target.empty() ? 0 : target.front() - source.back();
}

std::int64_t Doorbells::largest_stall_ns(std::int64_t from_ns, std::int64_t to_ns) const {
  std::int64_t largest = 0;
  std::int64_t before = 0;
  for (const auto& stamps : stamps_) {
    for (const auto stamp : stamps) {
      if (before != 0 && stamp >= from_ns && stamp <= to_ns) {
        largest = std::max(largest, stamp - before);
      }
      before = stamp;
    }
  }
  return largest;
}

vmm::Throughput Doorbells::throughput(std::int64_t first, std::int64_t end) const {
  vmm::Throughput out;
  out.first = first;
  for (auto number = first; number < end; ++number) {
    const auto found = intervals_.find(number);
    out.touches.push_back(found != intervals_.end() ? found->second : 0);
  }
  return out;
}

}  // namespace godwit::lab
