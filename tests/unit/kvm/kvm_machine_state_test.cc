#include <cstring>
#include <mutex>
#include <set>
#include <vector>

#include <gtest/gtest.h>

#include "godwit/engine/ports/dirty.h"
#include "godwit/engine/ports/guest.h"

#include "machine_support.h"

// The machine's state: from one machine into another, by hand, as a migration would.

namespace godwit::vmm {
namespace {

/// Pages marked since the last take().
class Marks final : public engine::DirtySink {
 public:
  void mark(RegionIndex region, std::uint64_t word, std::uint64_t mask) override {
    const std::lock_guard lock(mutex_);
    for (unsigned bit = 0; bit < 64; ++bit) {
      if ((mask >> bit & 1) != 0) {
        pages_.insert(PageId{region, word * 64 + bit});
      }
    }
  }
  std::set<PageId> take() {
    const std::lock_guard lock(mutex_);
    return std::exchange(pages_, {});
  }

 private:
  std::mutex mutex_;
  std::set<PageId> pages_;
};

class Moving : public ::testing::TestWithParam<std::tuple<std::uint32_t, Workload>> {};

TEST_P(Moving, TwiceGoesOnWithCleanCanariesAndMemory) {
  GODWIT_NEED_KVM();
  auto config = small_kvm_config();
  config.vcpus = std::get<0>(GetParam());
  config.workload = std::get<1>(GetParam());
  auto made = make(config);
  ASSERT_OK(made);
  auto guest = std::move(*made);
  ASSERT_OK(guest->boot());
  let_run(std::chrono::milliseconds(100));
  for (int hop = 0; hop < 2; ++hop) {
    auto target = make(config);
    ASSERT_OK(target);
    const auto stopped = guest->quiesce();
    ASSERT_OK(stopped);
    const auto before = guest->telemetry();
    copy_memory(*guest, **target);
    const auto state = guest->save_state();
    ASSERT_OK(state);
    ASSERT_OK((*target)->load_state(*state));
    EXPECT_EQ((*target)->run_edge().first_ns, 0);
    ASSERT_OK((*target)->run());
    ASSERT_TRUE(wait_steps(**target, 20));
    EXPECT_GT((*target)->run_edge().first_ns, stopped->last_ns);
    EXPECT_GE((*target)->run_edge().last_ns, (*target)->run_edge().first_ns);
    expect_clean_sweep(**target);
    expect_no_errors(**target);
    const auto after = (*target)->telemetry();
    for (std::size_t i = 0; i < after.vcpus.size(); ++i) {
      EXPECT_GT(after.vcpus[i].steps, before.vcpus[i].steps);
      EXPECT_EQ(after.vcpus[i].previous_step_ns, before.vcpus[i].last_step_ns);
      EXPECT_GT(after.vcpus[i].first_step_here_ns, 0);
      EXPECT_GE(after.vcpus[i].first_counter, before.vcpus[i].last_counter);
    }
    guest->stop();
    guest = std::move(*target);
  }
}

INSTANTIATE_TEST_SUITE_P(KvmMachine,
                         Moving,
                         ::testing::Combine(::testing::Values(1U, 2U),
                                            ::testing::Values(Workload::kRandomWrite,
                                                              Workload::kIdle)));

TEST(KvmMachineState, MovesToAMachineThatRegistersItsMemoryInTheBackground) {
  GODWIT_NEED_KVM();
  auto config = small_kvm_config();
  config.memory_bytes = 8 * kGiB;  // two slots, large enough to take a while
  auto guest = make(config);
  ASSERT_OK(guest);
  ASSERT_OK((*guest)->boot());
  ASSERT_TRUE(wait_steps(**guest, 3));
  ASSERT_OK((*guest)->quiesce());
  const auto state = (*guest)->save_state();
  ASSERT_OK(state);
  for (const bool prepared : {true, false}) {
    auto target = make_guest(config, MemoryOptions{.register_in_background = true});
    ASSERT_OK(target);
    if (prepared) {
      ASSERT_OK((*target)->prepare());
      ASSERT_OK((*target)->prepare());
    }
    copy_memory(**guest, **target);
    ASSERT_OK((*target)->load_state(*state));  // waits itself where nobody called prepare()
    std::string why;
    EXPECT_NE((*target)->dirty_source(why), nullptr) << "the next hop needs one";
    ASSERT_OK((*target)->run());
    expect_clean_sweep(**target);
    expect_no_errors(**target);
  }
  // One that is given up before it has finished ends in order.
  ASSERT_OK(make_guest(config, MemoryOptions{.register_in_background = true}));
}

TEST(KvmMachineState, MovesInTheMiddleOfTheFillAndOfASweep) {
  GODWIT_NEED_KVM();
  auto config = small_kvm_config();
  auto guest = make(config);
  ASSERT_OK(guest);
  ASSERT_OK((*guest)->boot());
  ASSERT_TRUE(wait_steps(**guest, 3));
  ASSERT_OK((*guest)->quiesce());
  auto target = make(config);
  ASSERT_OK(target);
  copy_memory(**guest, **target);
  const auto state = (*guest)->save_state();
  ASSERT_OK(state);
  ASSERT_OK((*target)->load_state(*state));
  ASSERT_OK((*target)->run());
  expect_clean_sweep(**target);
  expect_no_errors(**target);
  // The source was only paused: it can go on as after a cancelled migration.
  ASSERT_OK((*guest)->resume());
  expect_clean_sweep(**guest);
  expect_no_errors(**guest);
}

class ForgottenRegister : public ::testing::TestWithParam<std::uint64_t> {};

TEST_P(ForgottenRegister, IsFoundByTheGuest) {
  GODWIT_NEED_KVM();
  auto config = small_kvm_config();
  config.seed = GetParam();
  config.skip_register = true;
  config.vcpus = 2;
  auto guest = make(config);
  ASSERT_OK(guest);
  ASSERT_OK((*guest)->boot());
  let_run(std::chrono::milliseconds(50));
  ASSERT_OK((*guest)->quiesce());
  expect_no_errors(**guest);
  auto target = make(config);
  ASSERT_OK(target);
  copy_memory(**guest, **target);
  const auto state = (*guest)->save_state();
  ASSERT_OK(state);
  ASSERT_OK((*target)->load_state(*state));
  ASSERT_OK((*target)->run());
  ASSERT_TRUE(wait_steps(**target, 3));
  const auto telemetry = (*target)->telemetry();
  EXPECT_GE(telemetry.guest_errors, 1U);
  EXPECT_NE(telemetry.first_error.find("vcpu 0: canary register"), std::string::npos)
      << telemetry.first_error;
  RecordProperty("found", telemetry.first_error);
}

// Seeds that choose r12, r14, xmm0, xmm2, xmm15, st0, st5, fs base, gs base.
INSTANTIATE_TEST_SUITE_P(KvmMachine,
                         ForgottenRegister,
                         ::testing::Values(54U, 8U, 11U, 1U, 3U, 29U, 2U, 40U, 66U));

class PrecopyBy : public ::testing::TestWithParam<DirtyChoice> {};

TEST_P(PrecopyBy, LosesNothing) {
  GODWIT_NEED_KVM();
  for (const std::uint32_t vcpus : {1U, 2U}) {
    auto config = small_kvm_config();
    config.vcpus = vcpus;
    auto target = make(config);
    config.dirty = GetParam();
    if (auto usable = probe_dirty_choice(config.kind, config.dirty); !usable) {
      GTEST_SKIP() << usable.error().message();
    }
    auto guest = make(config);
    ASSERT_OK(guest);
    ASSERT_OK(target);
    ASSERT_OK((*guest)->boot());
    ASSERT_TRUE(wait_steps(**guest, 2));
    std::string why;
    auto* dirty = (*guest)->dirty_source(why);
    ASSERT_NE(dirty, nullptr) << why;
    Marks marks;
    // A migration that was cancelled comes first.
    ASSERT_OK(dirty->start(marks));
    ASSERT_TRUE(wait_steps(**guest, 2));
    ASSERT_OK(dirty->sync());
    dirty->stop();
    ASSERT_TRUE(wait_steps(**guest, 2));
    ASSERT_OK(dirty->start(marks));
    copy_memory(**guest, **target);
    const auto copy_marked = [&] {
      for (const auto page : marks.take()) {
        std::memcpy((*target)->memory().page(page), (*guest)->memory().page(page), kPageBytes);
      }
    };
    for (int round = 0; round < 50; ++round) {
      ASSERT_OK(dirty->sync());
      copy_marked();
    }
    ASSERT_OK((*guest)->quiesce());
    ASSERT_OK(dirty->sync());
    copy_marked();
    ASSERT_OK(dirty->sync());
    EXPECT_TRUE(marks.take().empty());
    dirty->stop();
    const auto state = (*guest)->save_state();
    ASSERT_OK(state);
    ASSERT_OK((*target)->load_state(*state));
    ASSERT_OK((*target)->run());
    expect_clean_sweep(**target);
    expect_no_errors(**target);
  }
}

INSTANTIATE_TEST_SUITE_P(KvmMachine,
                         PrecopyBy,
                         ::testing::Values(DirtyChoice::kLog, DirtyChoice::kRing),
                         [](const auto& tested) {
                           return std::string(dirty_choice_name(tested.param));
                         });

TEST(KvmMachineState, ALostPageIsFound) {
  GODWIT_NEED_KVM();
  auto config = small_kvm_config();
  auto guest = make(config);
  auto target = make(config);
  ASSERT_OK(guest);
  ASSERT_OK(target);
  ASSERT_OK((*guest)->boot());
  expect_clean_sweep(**guest);
  ASSERT_OK((*guest)->quiesce());
  copy_memory(**guest, **target);
  const auto page = config.populated_bytes / kPageBytes - 7;
  std::memset((*target)->memory().page({0, page}), 0, kPageBytes);
  const auto state = (*guest)->save_state();
  ASSERT_OK(state);
  ASSERT_OK((*target)->load_state(*state));
  ASSERT_OK((*target)->run());
  const auto swept = (*target)->sweep(Deadline::after_ns(kPatienceNs));
  ASSERT_OK(swept);
  EXPECT_EQ(swept->mismatches, 1U);
  EXPECT_EQ(swept->first_bad_page, page);
}

TEST(KvmMachineState, RefusesBadStateAndStaysUsable) {
  GODWIT_NEED_KVM();
  auto config = small_kvm_config();
  auto guest = make(config);
  auto target = make(config);
  ASSERT_OK(guest);
  ASSERT_OK(target);
  ASSERT_OK((*guest)->boot());
  ASSERT_TRUE(wait_steps(**guest, 2));
  ASSERT_OK((*guest)->quiesce());
  const auto state = (*guest)->save_state();
  ASSERT_OK(state);
  const auto refused = [&](const std::vector<engine::StateSection>& sections) {
    const auto loaded = (*target)->load_state(sections);
    return !loaded && loaded.error().code == ErrorCode::kRefused;
  };
  for (std::size_t i = 0; i < state->size(); ++i) {
    auto sections = *state;
    sections.erase(sections.begin() + static_cast<std::ptrdiff_t>(i));
    EXPECT_TRUE(refused(sections)) << "without " << (*state)[i].name;
    sections = *state;
    sections.push_back((*state)[i]);
    EXPECT_TRUE(refused(sections)) << "twice " << (*state)[i].name;
    sections = *state;
    sections[i].version = 99;
    EXPECT_TRUE(refused(sections)) << "version of " << (*state)[i].name;
    sections = *state;
    sections[i].payload.pop_back();
    EXPECT_TRUE(refused(sections)) << "short " << (*state)[i].name;
  }
  auto sections = *state;
  engine::StateSection extra;
  extra.name = "floppy";
  sections.push_back(extra);
  EXPECT_TRUE(refused(sections)) << "unknown and required";
  sections.back().required = false;
  copy_memory(**guest, **target);
  ASSERT_OK((*target)->load_state(sections));
  ASSERT_OK((*target)->run());
  expect_clean_sweep(**target);
  expect_no_errors(**target);
}

TEST(KvmMachineState, DescribesItself) {
  GODWIT_NEED_KVM();
  auto guest = make(small_kvm_config());
  ASSERT_OK(guest);
  const auto description = (*guest)->describe();
  EXPECT_EQ(description.kind, "kvm");
  EXPECT_EQ(description.vcpus, 1U);
  ASSERT_EQ(description.config.size(), 1U);
  const auto config = decode_config(description.config[0]);
  ASSERT_OK(config);
  EXPECT_EQ(config->seed, small_kvm_config().seed);
}

}  // namespace
}  // namespace godwit::vmm
