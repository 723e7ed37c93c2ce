#include "policy/reconnect.h"

#include <algorithm>

namespace godwit::engine {
namespace {

constexpr std::int64_t kShortestWaitNs = 5'000'000;
constexpr std::int64_t kFailoverWaitNs = 20'000'000;
constexpr std::int64_t kFailoverNs = 90'000'000'000;
constexpr std::int64_t kLongestWaitNs = 1'000'000'000;

constexpr std::int64_t kShortAttemptNs = 25'000'000;
constexpr std::int64_t kLongAttemptNs = 1'000'000'000;
/// Every so many attempts one has more time: the way may be longer than it was.
constexpr std::uint64_t kLongAttemptEvery = 32;

}  // namespace

void ReconnectWindow::lost(std::int64_t now) {
  if (gained_) {
    reopen(now);
    gained_ = false;
  } else {
    failed(now);
  }
}

void ReconnectWindow::reopen(std::int64_t now) {
  lost_ns_ = now;
  next_ns_ = now;
  attempts_ = 0;
}

void ReconnectWindow::missing(std::uint64_t pages) {
  gained_ = !missing_ || pages < *missing_;
  missing_ = pages;
}

void ReconnectWindow::failed(std::int64_t now) {
  ++attempts_;
  const auto since = now - lost_ns_;
  const auto wait = since > kFailoverNs
                        ? std::clamp((since - kFailoverNs) / 16, kFailoverWaitNs, kLongestWaitNs)
                        : std::clamp(since / 4, kShortestWaitNs, kFailoverWaitNs);
  next_ns_ = now + wait;
}

std::int64_t ReconnectWindow::attempt_ns(std::int64_t round_trip_ns) const {
  return attempts_ % kLongAttemptEvery == kLongAttemptEvery - 1
             ? kLongAttemptNs
             : std::clamp(3 * round_trip_ns, kShortAttemptNs, kLongAttemptNs);
}

}  // namespace godwit::engine
