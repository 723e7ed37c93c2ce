#include <linux/kvm.h>
#include <sys/ioctl.h>

#include <chrono>
#include <memory>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "godwit/base/clock.h"
#include "godwit/kvm/vcpu_state.h"
#include "godwit/kvm/vm.h"

#include "support/require_kvm.h"

namespace godwit::kvm {
namespace {

/// A machine that is nothing but vCPUs; their counters run all the same.
struct Machine {
  explicit Machine(const System& system, std::uint32_t count) {
    auto made = Vm::create(system);
    EXPECT_TRUE(made.has_value());
    vm = std::make_unique<Vm>(std::move(*made));
    for (std::uint32_t i = 0; i < count; ++i) {
      auto vcpu = Vcpu::create(system, *vm, i);
      EXPECT_TRUE(vcpu.has_value());
      vcpus.push_back(std::move(*vcpu));
    }
  }
  std::unique_ptr<Vm> vm;
  std::vector<Vcpu> vcpus;
};

/// A span of CLOCK_MONOTONIC in which something happened.
struct Span {
  std::int64_t from = monotonic_ns();
  std::int64_t to = 0;
  void end() { to = monotonic_ns(); }
  [[nodiscard]] std::int64_t width() const { return to - from; }
};

kvm_device_attr offset_of(std::uint64_t& value) {
  kvm_device_attr attribute{};
  attribute.group = KVM_VCPU_TSC_CTRL;
  attribute.attr = KVM_VCPU_TSC_OFFSET;
  attribute.addr = reinterpret_cast<std::uintptr_t>(&value);
  return attribute;
}

bool get_offset(const Vcpu& vcpu, std::uint64_t& value) {
  const auto attribute = offset_of(value);
  return ::ioctl(vcpu.fd(), KVM_GET_DEVICE_ATTR, &attribute) == 0;
}

bool set_offset(const Vcpu& vcpu, std::uint64_t value) {
  const auto attribute = offset_of(value);
  return ::ioctl(vcpu.fd(), KVM_SET_DEVICE_ATTR, &attribute) == 0;
}

/// How long before the target's machine the source's was made. Less than a second is what KVM takes
/// for an attempt to make counters equal when IA32_TSC is written.
class ClockAcrossARestore : public ::testing::TestWithParam<int> {};

TEST_P(ClockAcrossARestore, CounterHasRunOn) {
  GODWIT_NEED_KVM();
  auto system = System::open();
  ASSERT_OK(system);
  Machine source(*system, 2);
  std::this_thread::sleep_for(std::chrono::milliseconds(GetParam()));
  Machine target(*system, 2);
  auto plan = plan_msrs(*system, source.vcpus[0]);
  ASSERT_OK(plan);
  const auto khz = source.vcpus[0].tsc_khz();
  ASSERT_OK(khz);

  // The counter was read somewhere in `saved`, the clock beside it as well; the restore's in
  // `restored`; the last reading in `read`. What must lie between first and last counter follows,
  // however long any of these took.
  std::vector<VcpuState> states;
  Span saved;
  for (const auto& vcpu : source.vcpus) {
    auto state = VcpuState::capture(vcpu, *plan);
    ASSERT_OK(state);
    states.push_back(std::move(*state));
  }
  saved.end();
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  Span restored;
  TscShift shift;
  for (std::size_t i = 0; i < states.size(); ++i) {
    ASSERT_OK(states[i].restore(target.vcpus[i], shift));
  }
  restored.end();
  for (std::size_t i = 0; i < states.size(); ++i) {
    Span read;
    const auto counter = target.vcpus[i].tsc();
    read.end();
    ASSERT_OK(counter);
    const auto ran_ns = static_cast<double>(static_cast<std::int64_t>(*counter - states[i].tsc())) *
                        1e6 / static_cast<double>(*khz);
    // One per cent for the error of the rate that KVM reports.
    const auto slack = static_cast<double>(saved.width() + restored.width()) +
                       static_cast<double>(read.to - saved.from) / 100;
    EXPECT_GE(ran_ns, static_cast<double>(read.from - saved.to) - slack) << "vCPU " << i;
    EXPECT_LE(ran_ns, static_cast<double>(read.to - saved.from) + slack) << "vCPU " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(MillisecondsApart, ClockAcrossARestore, ::testing::Values(0, 500, 1500));

TEST(TscShift, CountersOfAMachineKeepTheirRelation) {
  GODWIT_NEED_KVM();
  constexpr std::uint64_t kApart = 1'234'567;
  auto system = System::open();
  ASSERT_OK(system);
  Machine source(*system, 2);
  Machine target(*system, 2);
  std::uint64_t first = 0;
  if (!get_offset(source.vcpus[0], first)) {
    GTEST_SKIP() << "this KVM has no KVM_VCPU_TSC_OFFSET (since v5.16)";
  }
  ASSERT_TRUE(set_offset(source.vcpus[1], first + kApart));
  std::uint64_t second = 0;
  ASSERT_TRUE(get_offset(source.vcpus[1], second));
  if (second - first != kApart) {
    GTEST_SKIP()
        << "this KVM keeps no offset: its guests read the host's counter, or that is not stable";
  }
  auto plan = plan_msrs(*system, source.vcpus[0]);
  ASSERT_OK(plan);
  TscShift shift;
  for (std::size_t i = 0; i < 2; ++i) {
    const auto state = VcpuState::capture(source.vcpus[i], *plan);
    ASSERT_OK(state);
    ASSERT_OK(state->restore(target.vcpus[i], shift));
  }
  std::uint64_t offsets[2] = {};
  ASSERT_TRUE(get_offset(target.vcpus[0], offsets[0]));
  ASSERT_TRUE(get_offset(target.vcpus[1], offsets[1]));
  EXPECT_EQ(offsets[1] - offsets[0], kApart);
}

}  // namespace
}  // namespace godwit::kvm
