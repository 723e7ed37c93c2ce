#include "tsc.h"

#include <algorithm>
#include <cerrno>

#include <fmt/format.h>

#include "godwit/base/clock.h"

#include "msrs.h"
#include "uapi.h"

// The time stamp counter must seem to have run on during the blackout
//
// The record says when (CLOCK_REALTIME) which counter was read; the target adds the time that has
// passed since then at the guest's rate. A clock that is behind the source's adds nothing: the
// counter may stall, it never goes back.
//
// The plain way to set a counter, writing IA32_TSC, is not exact: KVM takes a value within a second
// of what it would have been by itself for an attempt to make the vCPUs equal, and keeps the old
// offset (before v6.7 already at the first write after creation). A guest that had been started
// less than a second before the target's machine was made would see its counter go back by that
// time. So the kernel's offset of the guest's counter against the host's is set instead
// (KVM_VCPU_TSC_OFFSET), which is taken as it is.
//
// Offsets also keep vCPUs together. Read and written one after the other, their counters would come
// out apart by the time between the calls, and a guest that moves a thread from one to the other
// would see time go back. So only the first vCPU's clock is read: the shift from its old offset to
// its new one, which is the difference between two hosts' counters, is applied to all.
//
// Without the attribute IA32_TSC is written, and the kernel does with it what it does. Where
// neither has an effect, because guests read the host's counter directly, none is needed on one and
// the same host.

namespace godwit::kvm {
namespace {

/// Clocks of two hosts of one model differ by tens of parts in a million; the kernel's own
/// tolerance is 250.
constexpr std::uint64_t kTscTolerancePpm = 250;
/// A reading between two clock readings that are closer than this needs no second try.
constexpr std::int64_t kNarrowNs = 20'000;
constexpr int kReadings = 3;

kvm_device_attr offset_attribute(std::uint64_t& value) {
  kvm_device_attr attribute{};
  attribute.group = KVM_VCPU_TSC_CTRL;
  attribute.attr = KVM_VCPU_TSC_OFFSET;
  attribute.addr = reinterpret_cast<std::uintptr_t>(&value);
  return attribute;
}

/// Empty where the kernel has no such attribute (before v5.16).
std::optional<std::uint64_t> read_offset(const Vcpu& vcpu) {
  std::uint64_t value = 0;
  const auto attribute = offset_attribute(value);
  if (::ioctl(vcpu.fd(), KVM_GET_DEVICE_ATTR, &attribute) != 0) {
    return std::nullopt;
  }
  return value;
}

Status write_offset(const Vcpu& vcpu, std::uint64_t value) {
  const auto attribute = offset_attribute(value);
  if (::ioctl(vcpu.fd(), KVM_SET_DEVICE_ATTR, &attribute) != 0) {
    return fail_errno(errno, "KVM_SET_DEVICE_ATTR", "the offset of the time stamp counter");
  }
  return {};
}

/// What the saved counter would show at `realtime_ns`.
std::uint64_t counter_at(const TscRecord& saved, std::int64_t realtime_ns) {
  const auto elapsed_ns = std::max<std::int64_t>(0, realtime_ns - saved.realtime_ns);
  // 128 bits: a day of nanoseconds times a few million kHz does not fit into 64.
  __extension__ using Wide = unsigned __int128;
  const auto ticks = static_cast<Wide>(elapsed_ns) * saved.khz / 1'000'000;
  return saved.counter + static_cast<std::uint64_t>(ticks);
}

}  // namespace

bool same_tsc_rate(std::uint64_t a, std::uint64_t b) {
  const auto difference = a > b ? a - b : b - a;
  return difference * 1'000'000 <= a * kTscTolerancePpm;
}

Result<TscRecord> read_tsc(const Vcpu& vcpu) {
  TscRecord best{};
  std::int64_t best_width = 0;
  // Whoever is preempted between the counter and the clock pairs the wrong two: the narrowest of a
  // few readings counts, and its clock is the middle of the two around the counter.
  for (int reading = 0; reading < kReadings; ++reading) {
    const auto before = realtime_ns();
    GODWIT_TRY_ASSIGN(const auto counter, vcpu.tsc());
    const auto width = realtime_ns() - before;
    if (reading == 0 || width < best_width) {
      best.counter = counter;
      best.realtime_ns = before + width / 2;
      best_width = width;
    }
    if (best_width < kNarrowNs) {
      break;
    }
  }
  GODWIT_TRY_ASSIGN(best.khz, vcpu.tsc_khz());
  const auto offset = read_offset(vcpu);
  best.offset = offset.value_or(0);
  best.offset_known = offset ? 1 : 0;
  return best;
}

Status restore_tsc(const Vcpu& vcpu, const TscRecord& saved, TscShift& shift) {
  GODWIT_TRY_ASSIGN(const auto khz, vcpu.tsc_khz());
  if (!same_tsc_rate(khz, saved.khz) && ::ioctl(vcpu.fd(), KVM_SET_TSC_KHZ, saved.khz) != 0) {
    return fail_errno(errno, "KVM_SET_TSC_KHZ", fmt::format("{} kHz", saved.khz));
  }
  GODWIT_TRY_ASSIGN(const auto now, read_tsc(vcpu));
  if (now.offset_known == 1 && saved.offset_known == 1) {
    if (!shift.ticks) {
      const auto error = counter_at(saved, now.realtime_ns) - now.counter;
      shift.ticks = now.offset + error - saved.offset;
    }
    return write_offset(vcpu, saved.offset + *shift.ticks);
  }
  GODWIT_TRY_ASSIGN(const bool written,
                    write_msr(vcpu, {kMsrTsc, counter_at(saved, realtime_ns())}));
  if (!written) {
    return fail(ErrorCode::kIo, "KVM_SET_MSRS", "the time stamp counter was refused");
  }
  return {};
}

}  // namespace godwit::kvm
