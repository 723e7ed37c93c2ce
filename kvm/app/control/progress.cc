#include "control/progress.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include <fmt/format.h>

#include "godwit/base/clock.h"
#include "godwit/base/units.h"

#include "cli/output.h"
#include "cli/units_text.h"

namespace godwit::app {
namespace {

constexpr std::int64_t kPlainIntervalNs = 1'000'000'000;
constexpr std::size_t kBarWidth = 24;

std::string bar(std::uint64_t done, std::uint64_t left) {
  const auto all = done + left;
  const auto filled = all == 0 ? 0 : static_cast<std::size_t>(done * kBarWidth / all);
  return "[" + std::string(filled, '#') + std::string(kBarWidth - filled, '.') + "]";
}

}  // namespace

ProgressView::ProgressView() : terminal_(::isatty(STDERR_FILENO) == 1) {}

void ProgressView::show(const engine::Progress& progress) {
  const auto& phase = progress.phase;
  const auto now = monotonic_ns();
  if (!terminal_ && phase == last_phase_ && now - last_ns_ < kPlainIntervalNs) {
    return;
  }
  last_phase_ = phase;
  last_ns_ = now;
  const auto left = progress.remaining_pages;
  auto line = fmt::format("{:<14} round {:<2} {:>11}/s  {:>10} left",
                          phase,
                          progress.round,
                          size_text(progress.bytes_per_s),
                          size_text(left * kPageBytes));
  if (progress.eta_ns >= 0) {
    line += fmt::format("  about {} to go", duration_text(progress.eta_ns));
  }
  if (terminal_) {
    print_to(stderr, fmt::format("\r\x1b[K{} {}", bar(progress.sent_pages, left), line));
    drawn_ = true;
  } else {
    print_to(stderr, line + "\n");
  }
}

void ProgressView::finish() {
  if (drawn_) {
    print_to(stderr, "\n");
    drawn_ = false;
  }
}

}  // namespace godwit::app
