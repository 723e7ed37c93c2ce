#include "godwit/kvm/vcpu_state.h"

#include <atomic>
#include <chrono>
#include <cstring>
#include <thread>

#include <gtest/gtest.h>

#include "godwit/base/clock.h"
#include "godwit/base/random.h"
#include "godwit/kvm/vcpu_thread.h"

#include "support/require_kvm.h"
#include "tiny_machine.h"

namespace godwit::kvm {
namespace {

/// Runs the machine until it has left the guest 32 times: 256 writes lie between two exits, however
/// busy this host is.
void run_a_while(TinyMachine& machine) {
  constexpr int kExits = 32;
  std::atomic<int> exits{0};
  auto thread = VcpuThread::start(
      *machine.vcpu,
      [&exits](VcpuThread&, Vcpu&, std::int64_t) -> Result<VcpuThread::Next> {
        exits.fetch_add(1, std::memory_order_relaxed);  // only counts
        return VcpuThread::Next::kRun;
      },
      nullptr);
  ASSERT_OK(thread);
  ASSERT_OK((*thread)->resume());
  const auto hangs = Deadline::after_ns(60'000'000'000);
  while (exits.load(std::memory_order_relaxed) < kExits && !hangs.passed()) {
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  }
  (*thread)->request_pause();
  ASSERT_OK((*thread)->wait_paused());
  ASSERT_GE(exits.load(std::memory_order_relaxed), kExits);
}

class VcpuStateTest : public ::testing::Test {
 protected:
  void SetUp() override {
    GODWIT_NEED_KVM();
    auto machine = TinyMachine::create(256, 0, 8);
    ASSERT_OK(machine);
    machine_ = std::move(*machine);
    auto plan = plan_msrs(machine_->system, *machine_->vcpu);
    ASSERT_OK(plan);
    plan_ = std::move(*plan);
    run_a_while(*machine_);
    auto state = VcpuState::capture(*machine_->vcpu, plan_);
    ASSERT_OK(state);
    state_ = std::move(*state);
  }

  std::unique_ptr<TinyMachine> machine_;
  MsrPlan plan_;
  VcpuState state_;
};

TEST_F(VcpuStateTest, RoundTripsThroughItsEncoding) {
  const auto bytes = state_.encode();
  EXPECT_LE(bytes.size(), VcpuState::kMaxEncodedBytes);
  const auto decoded = VcpuState::decode(bytes);
  ASSERT_OK(decoded);
  EXPECT_EQ(*decoded, state_);
  EXPECT_EQ(decoded->encode(), bytes);
}

TEST_F(VcpuStateTest, SavesEveryListedRegisterOrSaysWhyNot) {
  EXPECT_EQ(plan_.saved.size() + plan_.unreadable.size() + plan_.excluded.size(),
            machine_->system.msr_indices().size());
  EXPECT_FALSE(plan_.saved.empty());
}

TEST_F(VcpuStateTest, ContinuesInAnotherMachine) {
  auto other = TinyMachine::create(256, 0, 8);
  ASSERT_OK(other);
  std::memcpy((*other)->memory.data(), machine_->memory.data(), machine_->memory.size());
  ASSERT_OK(state_.check((*other)->system, *(*other)->vcpu));
  TscShift shift;
  ASSERT_OK(state_.restore(*(*other)->vcpu, shift));
  EXPECT_EQ((*other)->writes(), machine_->writes());
  auto plan = plan_msrs((*other)->system, *(*other)->vcpu);
  ASSERT_OK(plan);
  auto again = VcpuState::capture(*(*other)->vcpu, *plan);
  ASSERT_OK(again);
  EXPECT_GE(again->tsc(), state_.tsc()) << "the counter never goes back";
  EXPECT_EQ(again->value({StateRegister::Kind::kGeneral, 12}), 0x1212121212121212U);
  run_a_while(**other);
  EXPECT_GT((*other)->writes(), machine_->writes());
}

TEST_F(VcpuStateTest, ForgetsOneRegister) {
  auto state = state_;
  const StateRegister r12{StateRegister::Kind::kGeneral, 12};
  EXPECT_EQ(state.value(r12), 0x1212121212121212U);
  state.forget(r12);
  EXPECT_EQ(state.value(r12), 0U);
  EXPECT_NE(state, state_);
  EXPECT_EQ(register_name(r12), "r12");
  EXPECT_EQ(register_name({StateRegister::Kind::kXmm, 3}), "xmm3");
}

TEST_F(VcpuStateTest, RefusesEveryTruncation) {
  const auto bytes = state_.encode();
  SplitMix64 random(7);
  for (int i = 0; i < 2000; ++i) {
    const auto size = i < 64 ? static_cast<std::size_t>(i) : random.below(bytes.size());
    const auto decoded = VcpuState::decode(std::span(bytes).first(size));
    ASSERT_FALSE(decoded.has_value()) << size;
    ASSERT_EQ(decoded.error().code, ErrorCode::kRefused);
  }
  auto longer = bytes;
  longer.push_back(std::byte{0});
  EXPECT_FALSE(VcpuState::decode(longer).has_value());
}

TEST_F(VcpuStateTest, RefusesDamagedHeadersAndRecords) {
  const auto bytes = state_.encode();
  const auto damaged = [&](std::size_t at, std::uint8_t value) {
    auto copy = bytes;
    copy[at] = std::byte{value};
    return VcpuState::decode(copy);
  };
  EXPECT_FALSE(damaged(0, 0).has_value()) << "magic";
  EXPECT_FALSE(damaged(4, 9).has_value()) << "version";
  EXPECT_FALSE(damaged(6, 9).has_value()) << "count of records";
  EXPECT_FALSE(damaged(8, 0).has_value()) << "record 0";
  EXPECT_FALSE(damaged(8, 99).has_value()) << "record unknown";
  EXPECT_FALSE(damaged(8, 2).has_value()) << "record twice, or of the wrong length";
  EXPECT_FALSE(damaged(10, 1).has_value()) << "reserved";
  EXPECT_FALSE(damaged(15, 0xFF).has_value()) << "length";
}

TEST_F(VcpuStateTest, RandomDamageNeverHarmsTheDecoder) {
  const auto bytes = state_.encode();
  for (std::uint64_t seed = 0; seed < 5000; ++seed) {
    SplitMix64 random(seed);
    auto copy = bytes;
    for (auto n = 1 + random.below(8); n > 0; --n) {
      copy[random.below(copy.size())] = static_cast<std::byte>(random.next());
    }
    const auto decoded = VcpuState::decode(copy);
    if (decoded) {
      ASSERT_EQ(decoded->encode(), copy) << "seed " << seed;
    } else {
      ASSERT_EQ(decoded.error().code, ErrorCode::kRefused) << "seed " << seed;
    }
  }
}

TEST_F(VcpuStateTest, ChecksCpuFeatures) {
  auto bytes = state_.encode();
  // The first record is CPUID: set every feature bit of leaf 7, which no host has.
  constexpr std::size_t kFirstEntry = 8 + 8 + 8;
  constexpr std::size_t kEntryBytes = 40;
  bool found = false;
  for (auto at = kFirstEntry; at + kEntryBytes < bytes.size() && !found; at += kEntryBytes) {
    std::uint32_t function = 0;
    std::uint32_t index = 0;
    std::memcpy(&function, bytes.data() + at, sizeof(function));
    std::memcpy(&index, bytes.data() + at + 4, sizeof(index));
    if (function == 7 && index == 0) {
      std::memset(bytes.data() + at + 16, 0xFF, 4);
      found = true;
    }
  }
  ASSERT_TRUE(found);
  const auto decoded = VcpuState::decode(bytes);
  ASSERT_OK(decoded);
  const auto checked = decoded->check(machine_->system, *machine_->vcpu);
  ASSERT_FALSE(checked.has_value());
  EXPECT_EQ(checked.error().code, ErrorCode::kRefused);
  EXPECT_NE(checked.error().message().find("leaf 0x7"), std::string::npos)
      << checked.error().message();
}

}  // namespace
}  // namespace godwit::kvm
