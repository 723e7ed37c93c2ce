#include "workload/step_log.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "godwit/base/clock.h"

#include "kvm/state_codec.h"

namespace godwit::vmm {
namespace {

constexpr std::uint32_t kVersion = 2;
constexpr std::size_t kTextBytesMax = 512;
constexpr std::size_t kPausesMax = 64;  ///< between two doorbells; older ones are forgotten

std::string describe_error(std::uint32_t vcpu,
                           std::uint32_t kind,
                           std::uint64_t page,
                           std::uint64_t expected,
                           std::uint64_t found) {
  switch (kind) {
    case guest::kErrorPage:
      if (found == guest::kNoGeneration) {
        return fmt::format(
            "vcpu {}: page {} is damaged: it holds none of its recent contents (generation {} "
            "expected)",
            vcpu,
            page,
            expected);
      }
      return fmt::format(
          "vcpu {}: page {} holds generation {}, {} expected", vcpu, page, found, expected);
    case guest::kErrorGenerationSum:
      return fmt::format(
          "vcpu {}: its slice from page {} has a generation sum of {}, {} expected: a page and its "
          "table entry are stale",
          vcpu,
          page,
          found,
          expected);
    case guest::kErrorCanary:
      return fmt::format(
          "vcpu {}: canary register {} holds {:#x}, {:#x} expected", vcpu, page, found, expected);
    default:
      return fmt::format("vcpu {}: error of unknown kind {} at {}: {:#x}, {:#x} expected",
                         vcpu,
                         kind,
                         page,
                         found,
                         expected);
  }
}

}  // namespace

struct StepLog::Saved {
  std::vector<GuestTelemetry::Vcpu> vcpus;
  std::vector<std::uint64_t> touches;
  std::uint64_t errors = 0;
  std::uint64_t holes = 0;
  std::string first_error;
  std::string boot;
};

StepLog::StepLog(std::uint32_t vcpus, std::uint64_t counter_hz) : counter_hz_(counter_hz) {
  for (std::uint32_t i = 0; i < vcpus; ++i) {
    entries_.push_back(std::make_unique<Entry>());
    entries_.back()->pauses.reserve(kPausesMax);
  }
}

std::int64_t StepLog::to_ns(std::uint64_t ticks) const {
  // Seconds and remainder apart: the product of a whole counter and 10^9 would overflow.
  constexpr std::uint64_t kNs = 1'000'000'000;
  const auto ns = ticks / counter_hz_ * kNs + ticks % counter_hz_ * kNs / counter_hz_;
  return static_cast<std::int64_t>(ns);
}

std::uint64_t StepLog::without_pauses(const Entry& entry, const guest::SlowTouch& touch) {
  auto duration = touch.duration;
  const auto start = touch.end - touch.duration;
  for (const auto& pause : entry.pauses) {
    const auto from = std::max(pause.from, start);
    const auto to = std::min(pause.to, touch.end);
    if (from < to) {
      duration -= std::min(duration, to - from);
    }
  }
  return duration;
}

void StepLog::doorbell(std::uint32_t vcpu, const Doorbell& doorbell) {
  auto& entry = *entries_[vcpu];
  std::string wrong;
  bool hole = false;
  {
    const std::lock_guard lock(entry.mutex);
    auto& book = entry.vcpu;
    if (doorbell.step != book.steps + 1) {
      wrong = fmt::format("vcpu {}: step {} follows step {}", vcpu, doorbell.step, book.steps);
      hole = true;
    } else if (doorbell.counter < book.last_counter) {
      wrong = fmt::format("vcpu {}: the counter went back from {} to {} at step {}",
                          vcpu,
                          book.last_counter,
                          doorbell.counter,
                          doorbell.step);
    }
    auto longest = doorbell.slow.empty() ? to_ns(doorbell.longest_ticks) : 0;
    for (const auto& touch : doorbell.slow) {
      if (entry.arrived && !entry.pauses.empty() && touch.end <= entry.pauses.front().from) {
        continue;  // of the step that the source began: it ended before the guest moved
      }
      const auto ns = to_ns(without_pauses(entry, touch));
      longest = std::max(longest, ns);
      if (ns > static_cast<std::int64_t>(guest::kSlowTouchUs) * 1000) {
        entry.slow_touches.record(static_cast<std::uint64_t>(ns));
      }
    }
    entry.pauses.clear();
    entry.arrived = false;
    if (doorbell.touches > entry.touches) {
      entry.throughput.add(doorbell.stamp_ns, doorbell.touches - entry.touches);
    }
    entry.touches = doorbell.touches;
    if (entry.previous_ns != 0) {
      book.largest_step_ns = std::max(book.largest_step_ns, doorbell.stamp_ns - entry.previous_ns);
    }
    entry.previous_ns = doorbell.stamp_ns;
    if (book.first_step_ns == 0) {
      book.first_step_ns = doorbell.stamp_ns;
      book.first_counter = doorbell.counter;
      book.first_step_faults_ns = longest;
      if (entry.entering_ns != 0) {
        book.first_step_here_ns = doorbell.stamp_ns - entry.entering_ns;
      }
    }
    book.steps = doorbell.step;
    book.last_step_ns = doorbell.stamp_ns;
    book.last_counter = doorbell.counter;
  }
  if (!wrong.empty()) {
    count_error(std::move(wrong), hole);
  }
}

void StepLog::pause(std::uint32_t vcpu, std::uint64_t from_counter, std::uint64_t to_counter) {
  auto& entry = *entries_[vcpu];
  const std::lock_guard lock(entry.mutex);
  if (entry.pauses.size() == kPausesMax) {
    entry.pauses.erase(entry.pauses.begin());
  }
  entry.pauses.push_back(Pause{from_counter, to_counter});
}

void StepLog::entering(std::int64_t now_ns) {
  for (const auto& entry : entries_) {
    const std::lock_guard lock(entry->mutex);
    entry->entering_ns = now_ns;
  }
}

void StepLog::guest_error(std::uint32_t vcpu,
                          std::uint32_t kind,
                          std::uint64_t page,
                          std::uint64_t expected,
                          std::uint64_t found) {
  count_error(describe_error(vcpu, kind, page, expected, found), false);
}

void StepLog::guest_error(const std::string& text) {
  count_error(text, false);
}

void StepLog::count_error(std::string text, bool hole) {
  const std::lock_guard lock(error_mutex_);
  ++errors_;
  holes_ += hole ? 1 : 0;
  if (first_error_.empty()) {
    first_error_ = std::move(text);
  }
}

GuestTelemetry StepLog::telemetry() const {
  GuestTelemetry out;
  out.counter_hz = counter_hz_;
  for (const auto& entry : entries_) {
    const std::lock_guard lock(entry->mutex);
    out.vcpus.push_back(entry->vcpu);
    out.slow_touches.merge(entry->slow_touches);
  }
  const std::lock_guard lock(error_mutex_);
  out.guest_errors = errors_;
  out.step_holes = holes_;
  out.first_error = first_error_;
  return out;
}

Throughput StepLog::throughput(std::int64_t first, std::int64_t end) const {
  Throughput out;
  out.first = std::max(first, end - ThroughputBook::kIntervals);
  out.touches.resize(static_cast<std::size_t>(std::max<std::int64_t>(0, end - out.first)));
  for (const auto& entry : entries_) {
    const std::lock_guard lock(entry->mutex);
    for (auto number = out.first; number < end; ++number) {
      out.touches[static_cast<std::size_t>(number - out.first)] += entry->throughput.at(number);
    }
  }
  return out;
}

void StepLog::reset_stall() {
  for (const auto& entry : entries_) {
    const std::lock_guard lock(entry->mutex);
    entry->vcpu.largest_step_ns = 0;
  }
}

engine::StateSection StepLog::save() const {
  const auto now = telemetry();
  StateWriter out;
  out.text(boot_id());
  out.u32(static_cast<std::uint32_t>(now.vcpus.size()));
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    out.u64(now.vcpus[i].steps);
    out.i64(now.vcpus[i].last_step_ns);
    out.u64(now.vcpus[i].last_counter);
    const std::lock_guard lock(entries_[i]->mutex);
    out.u64(entries_[i]->touches);
  }
  out.u64(now.guest_errors);
  out.u64(now.step_holes);
  out.text(std::string_view(now.first_error).substr(0, kTextBytesMax));
  engine::StateSection section;
  section.name = kSection;
  section.version = kVersion;
  section.payload = out.take();
  return section;
}

Result<StepLog::Saved> StepLog::decode(const engine::StateSection& section) const {
  if (section.version != kVersion) {
    return fail(ErrorCode::kRefused,
                "load telemetry",
                fmt::format("version {} is unknown", section.version));
  }
  StateReader in(section.payload);
  Saved saved;
  saved.boot = in.text(kTextBytesMax);
  if (const auto count = in.u32(); count != entries_.size()) {
    return fail(ErrorCode::kRefused,
                "load telemetry",
                fmt::format("{} vCPUs, this machine has {}", count, entries_.size()));
  }
  saved.vcpus.resize(entries_.size());
  for (auto& vcpu : saved.vcpus) {
    vcpu.steps = in.u64();
    vcpu.last_step_ns = in.i64();
    vcpu.last_counter = in.u64();
    saved.touches.push_back(in.u64());
  }
  saved.errors = in.u64();
  saved.holes = in.u64();
  saved.first_error = in.text(kTextBytesMax);
  if (!in.done()) {
    return fail(ErrorCode::kRefused, "load telemetry", "the section has the wrong size");
  }
  return saved;
}

Status StepLog::check(const engine::StateSection& section) const {
  GODWIT_TRY(decode(section));
  return {};
}

Status StepLog::load(const engine::StateSection& section) {
  GODWIT_TRY_ASSIGN(auto saved, decode(section));
  // Stamps of another boot cannot be compared with ours: then the step across the migration enters
  // no stall here.
  const bool same_boot = saved.boot == boot_id();
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    auto& entry = *entries_[i];
    const std::lock_guard lock(entry.mutex);
    entry.vcpu = saved.vcpus[i];
    entry.vcpu.previous_step_ns = saved.vcpus[i].last_step_ns;
    entry.vcpu.previous_counter = saved.vcpus[i].last_counter;
    entry.previous_ns = same_boot ? saved.vcpus[i].last_step_ns : 0;
    entry.slow_touches = Histogram{};
    entry.touches = saved.touches[i];
    entry.arrived = true;
    entry.pauses.clear();
  }
  const std::lock_guard lock(error_mutex_);
  errors_ = saved.errors;
  holes_ = saved.holes;
  first_error_ = std::move(saved.first_error);
  return {};
}

}  // namespace godwit::vmm
