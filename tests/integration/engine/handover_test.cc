#include <chrono>
#include <functional>
#include <thread>

#include <gtest/gtest.h>

#include "in_process.h"

// A guest that cannot be stopped, or cannot be started at the target: it goes on at the source, and the
// next attempt succeeds.

namespace godwit::test {
namespace {

constexpr std::int64_t kPatienceNs = 600'000'000'000;

/// A guest at the source, whose stop fails once behind its back.
class StubbornSource final : public engine::SourceGuest {
 public:
  explicit StubbornSource(vmm::Guest& inside) : inside_(inside) {}
  bool fail_next = false;
  unsigned resumed = 0;

  engine::MachineDescription describe() override { return inside_.describe(); }
  [[nodiscard]] const engine::GuestMemory& memory() const override { return inside_.memory(); }
  engine::PopulatedScan& populated() override { return inside_.populated(); }
  engine::DirtySource* dirty_source(std::string& why) override { return inside_.dirty_source(why); }
  Result<engine::RunEdge> quiesce() override {
    auto stopped = inside_.quiesce();
    if (std::exchange(fail_next, false)) {
      return fail(ErrorCode::kGuest, "quiesce", "a device does not stop; the vCPUs have");
    }
    return stopped;
  }
  Result<std::vector<engine::StateSection>> save_state() override { return inside_.save_state(); }
  Status resume() override {
    ++resumed;
    return inside_.resume();
  }

 private:
  vmm::Guest& inside_;
};

/// A guest at the target that is never entered.
class StubbornTarget final : public engine::TargetGuest {
 public:
  StubbornTarget(std::unique_ptr<engine::TargetGuest> inside, ErrorCode code)
      : inside_(std::move(inside)), code_(code) {}
  [[nodiscard]] const engine::GuestMemory& memory() const override { return inside_->memory(); }
  Status prepare() override { return inside_->prepare(); }
  Status load_state(std::span<const engine::StateSection> sections) override {
    return inside_->load_state(sections);
  }
  Status run() override { return fail(code_, "run", "no vCPU could be entered"); }
  [[nodiscard]] engine::RunEdge run_edge() const override { return {}; }

 private:
  std::unique_ptr<engine::TargetGuest> inside_;
  const ErrorCode code_;
};

class StubbornHost final : public PlainHost {
 public:
  ErrorCode code = ErrorCode::kRefused;
  Result<Machine> create(const engine::MachineDescription& description,
                         const Options& options) override {
    GODWIT_TRY_ASSIGN(auto machine, PlainHost::create(description, options));
    machine.guest = std::make_unique<StubbornTarget>(std::move(machine.guest), code);
    return machine;
  }
};

class Handover : public testing::Test {
 protected:
  void SetUp() override {
    vmm::GuestConfig config;
    config.kind = vmm::GuestKind::kProcess;
    config.memory_bytes = 32 * kMiB;
    config.populated_bytes = 32 * kMiB;
    config.working_set_bytes = 8 * kMiB;
    config.workload = vmm::Workload::kRandomWrite;
    guest_ = std::move(*vmm::make_guest(config, {}));
    ASSERT_TRUE(guest_->boot());
    while (!guest_->filled()) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  }

  /// One attempt, from `guest` to a session of `host`.
  engine::MigrationReport attempt(engine::SourceGuest& guest,
                                  PlainHost& host,
                                  engine::TargetState& target_state) {
    auto listener = std::move(*net::make_listener(net::LoopKind::kPoll, {}));
    const auto peer = net::parse_endpoint(listener->address());
    auto transport = std::move(*net::make_transport(net::LoopKind::kPoll, {.peer = *peer}));
    engine::TargetSession target(host, *listener, *transport, {});
    engine::SourceSession source(guest, *transport, {});
    target.start();
    source.start();
    auto report = source.wait();
    if (report.outcome == engine::Outcome::kInDoubt) {
      target.abandon();
    }
    target_state = target.wait();
    return report;
  }

  void expect_goes_on() {
    const auto steps = [this] { return guest_->telemetry().vcpus[0].steps; };
    const auto before = steps();
    const auto deadline = Deadline::after_ns(kPatienceNs);
    while (steps() == before && !deadline.passed()) {
      std::this_thread::yield();
    }
    EXPECT_GT(steps(), before) << "the guest stands still";
    const auto sweep = guest_->sweep(Deadline::after_ns(kPatienceNs));
    ASSERT_TRUE(sweep) << sweep.error().message();
    EXPECT_EQ(sweep->mismatches, 0U);
    auto again = migrate(*guest_, {});
    ASSERT_TRUE(again);
    EXPECT_EQ(again->report.outcome, engine::Outcome::kCompleted);
    ASSERT_TRUE(again->arrived);
    const auto there = again->arrived->sweep(Deadline::after_ns(kPatienceNs));
    ASSERT_TRUE(there);
    EXPECT_EQ(there->mismatches, 0U);
  }

  std::unique_ptr<vmm::Guest> guest_;
};

TEST_F(Handover, AStopThatFailsHalfWayIsTakenBack) {
  StubbornSource stubborn(*guest_);
  stubborn.fail_next = true;
  PlainHost host;
  engine::TargetState state{};
  const auto report = attempt(stubborn, host, state);
  EXPECT_EQ(report.outcome, engine::Outcome::kFailed);
  ASSERT_TRUE(report.error);
  EXPECT_EQ(report.error->error.code, ErrorCode::kGuest);
  EXPECT_EQ(stubborn.resumed, 1U);
  EXPECT_EQ(state, engine::TargetState::kCancelled);
  expect_goes_on();
}

TEST_F(Handover, AGuestThatCannotBeStartedThereRunsOnHere) {
  StubbornHost host;
  engine::TargetState state{};
  const auto report = attempt(*guest_, host, state);
  EXPECT_EQ(report.outcome, engine::Outcome::kFailed);
  ASSERT_TRUE(report.error);
  EXPECT_EQ(report.error->side, "target");
  EXPECT_EQ(report.error->error.code, ErrorCode::kRefused);
  EXPECT_EQ(state, engine::TargetState::kFailed) << "it has thrown everything away";
  expect_goes_on();
}

// Some vCPU may have run: then nobody but an operator may say who goes on.
TEST_F(Handover, AGuestThatMayHaveRunThereIsHeldByBoth) {
  StubbornHost host;
  host.code = ErrorCode::kGuest;
  engine::TargetState state{};
  const auto report = attempt(*guest_, host, state);
  EXPECT_EQ(report.outcome, engine::Outcome::kInDoubt);
  EXPECT_EQ(state, engine::TargetState::kSuspended);
}

}  // namespace
}  // namespace godwit::test
