#include "simulator.h"

#include <algorithm>

#include <fmt/format.h>

#include "sim_source.h"
#include "sim_target.h"

namespace godwit::sim {

using engine::Mode;
using engine::SourceState;
using engine::TargetState;

namespace {

/// No run takes longer: whoever has not ended by then waits for something that never comes.
constexpr Ns kLongestRun = 60'000'000'000;
/// Longer than any message is on its way.
constexpr Ns kAfterwards = 8'000'000;

/// It has lost its link and listens for its source.
bool waits(TargetState target) {
  return target == TargetState::kUndecided || target == TargetState::kReconnecting ||
         target == TargetState::kUnconfirmed;
}

bool whole(TargetState target) {
  return target == TargetState::kCompleted || target == TargetState::kUnconfirmed;
}

bool legal_pair(SourceState source, TargetState target) {
  switch (source) {
    case SourceState::kCompleted:
      return whole(target);
    case SourceState::kRolledBack:
    case SourceState::kFailed:
      return target == TargetState::kListening || target == TargetState::kCancelled ||
             target == TargetState::kFailed || target == TargetState::kInDoubt ||
             target == TargetState::kUndecided;
    case SourceState::kSuspended:
      return target == TargetState::kInDoubt || target == TargetState::kSuspended ||
             target == TargetState::kCompleted || waits(target);
    default:
      return false;
  }
}

class Simulation {
 public:
  explicit Simulation(const Scenario& scenario)
      : scenario_(scenario),
        world_(scenario.seed ^ 0x5EEDULL),
        guest_(world_, scenario_.region_pages, scenario.guest),
        link_(world_, scenario.link),
        source_(world_, scenario_, link_, guest_),
        target_(world_, scenario_, link_, guest_) {
    source_.on_state = [this] {
      if (!scenario_.trigger_at_target && source_.machine().state() == scenario_.source_trigger) {
        arm_mishap();
      }
    };
    target_.on_state = [this] {
      if (scenario_.trigger_at_target && target_.machine().state() == scenario_.target_trigger) {
        arm_mishap();
      }
    };
    source_.memory().each([&](PageId page, std::uint32_t& content) {
      if (world_.chance(scenario_.populated_percent)) {
        guest_.versions()[page] = static_cast<std::uint32_t>(world_.between(1, 20));
        content = content_of(guest_.versions()[page]);
      }
    });
  }

  Outcome run() {
    guest_.run_on(source_);
    source_.start();
    Ns ended_at = 0;
    do {
      while (!ended() && world_.time.now() < kLongestRun && world_.time.run_one()) {
      }
      ended_at = world_.time.now();
      // A guest that survived goes on for a while, and messages that are still on their way arrive:
      // the source's first one may wake a target that had heard of nothing.
      while (world_.time.now() < ended_at + kAfterwards && world_.time.run_one()) {
      }
    } while (!ended() && world_.time.now() < kLongestRun);
    if (!ended()) {
      world_.violation(fmt::format("no end: source {}, target {}",
                                   to_string(source_.machine().state()),
                                   to_string(target_.machine().state())));
    }
    check_end();
    Outcome outcome;
    outcome.violations = world_.violations;
    outcome.source = source_.machine().state();
    outcome.target = target_.machine().state();
    outcome.ended_at = ended_at;
    source_.count(outcome);
    return outcome;
  }

 private:
  [[nodiscard]] bool ended() const {
    return source_.machine().ended() &&
           (target_.machine().ended() || target_.machine().state() == TargetState::kListening ||
            waits(target_.machine().state()));
  }

  void arm_mishap() {
    if (!std::exchange(armed_, true)) {
      world_.time.after(scenario_.mishap_delay_ns, [this] { happen(); });
    }
  }

  void happen() {
    switch (scenario_.mishap) {
      case Mishap::kCutBoth:
        return cut(true, true);
      case Mishap::kCutToTarget:
        return cut(true, false);
      case Mishap::kCutToSource:
        return cut(false, true);
      case Mishap::kStall:
        for (const auto channel : kChannels) {
          link_.to_target(channel, link_.newest()).stall(scenario_.stall_ns);
          link_.to_source(channel, link_.newest()).stall(scenario_.stall_ns);
        }
        return;
      case Mishap::kCancelSource:
        return source_.cancel();
      case Mishap::kCancelTarget:
        return target_.cancel();
      case Mishap::kSourceError:
        return source_.fail();
      case Mishap::kSwitchNow:
        return source_.request_switch();
      case Mishap::kNone:
      case Mishap::kLoadError:
      case Mishap::kRefusal:
        return;
    }
  }

  /// Bytes are lost at once, in one direction or both; each side notices by itself, some time
  /// later, or not before the other one has connected again.
  void cut(bool to_target, bool to_source) {
    const auto link = link_.newest();
    for (const auto channel : kChannels) {
      if (to_target) {
        link_.to_target(channel, link).cut();
      }
      if (to_source) {
        link_.to_source(channel, link).cut();
      }
    }
    link_.go_down(world_.time.now() + scenario_.outage_ns);
    world_.time.after(world_.between(0, 30'000'000), [this, link] { source_.on_link_lost(link); });
    world_.time.after(world_.between(0, 30'000'000), [this, link] { target_.on_link_lost(link); });
    if (++cuts_ < scenario_.cuts) {
      world_.time.after(scenario_.between_cuts_ns, [this, to_target, to_source] {
        if (!ended()) {
          cut(to_target, to_source);
        }
      });
    }
  }

  void check_end() {
    const auto source = source_.machine().state();
    const auto target = target_.machine().state();
    if (!legal_pair(source, target)) {
      world_.violation(
          fmt::format("illegal end: source {}, target {}", to_string(source), to_string(target)));
    }
    const GuestSide* runner = guest_.runner();
    const bool rolled_back = source == SourceState::kRolledBack || source == SourceState::kFailed;
    if (rolled_back && runner != &source_) {
      world_.violation("the source goes on without its guest running");
    }
    if (whole(target)) {
      if (runner != &target_) {
        world_.violation("the migration completed and the guest does not run at the target");
      }
      target_.memory().each([&](PageId page, std::uint32_t&) { guest_.check_read(target_, page); });
    }
    const bool cut = scenario_.mishap == Mishap::kCutBoth ||
                     scenario_.mishap == Mishap::kCutToTarget ||
                     scenario_.mishap == Mishap::kCutToSource;
    if (scenario_.recovers && cut && source_.machine().decided() &&
        source != SourceState::kCompleted) {
      world_.violation("a link was lost after the decision, and the migration did not go on");
    }
    if (source == SourceState::kSuspended && runner == &source_) {
      world_.violation("the source runs the guest after its decision to commit");
    }
  }

  Scenario scenario_;
  World world_;
  FakeGuest guest_;
  LinkModel link_;
  SimSource source_;
  SimTarget target_;
  bool armed_ = false;
  unsigned cuts_ = 0;
};

}  // namespace

Scenario Scenario::from_seed(std::uint64_t seed, SimBugs bugs) {
  World chance(seed);
  Scenario s;
  s.seed = seed;
  s.bugs = bugs;
  const auto regions = chance.between(1, 3);
  for (std::int64_t i = 0; i < regions; ++i) {
    s.region_pages.push_back(
        static_cast<std::uint64_t>(chance.between(1, 1 << chance.between(2, 10))));
  }
  s.populated_percent = static_cast<unsigned>(chance.between(0, 100));
  constexpr Mode kModes[] = {Mode::kHybrid,
                             Mode::kHybrid,
                             Mode::kHybrid,
                             Mode::kPrecopy,
                             Mode::kPostcopy,
                             Mode::kStopAndCopy};
  s.options.mode = kModes[chance.random.below(std::size(kModes))];
  s.options.switch_after_rounds = static_cast<std::uint32_t>(chance.between(1, 4));
  s.options.max_rounds = static_cast<std::uint32_t>(chance.between(1, 8));
  s.options.downtime_limit_ns = chance.between(10'000, 2'000'000);
  s.options.on_no_convergence =
      chance.chance(70) ? engine::OnNoConvergence::kForce : engine::OnNoConvergence::kFail;
  s.dirty = static_cast<DirtyKind>(chance.random.below(3));
  s.guest.vcpus = static_cast<unsigned>(chance.between(1, 3));
  s.guest.step_ns = chance.between(500, std::int64_t{1} << chance.between(10, 17));
  s.guest.write_percent = static_cast<unsigned>(chance.between(0, 100));
  s.guest.outside_percent = static_cast<unsigned>(chance.between(0, 30));
  s.guest.working_pages = static_cast<std::uint64_t>(chance.between(1, 200));
  s.link.latency = chance.between(5'000, chance.chance(20) ? 3'000'000 : 200'000);
  s.link.jitter = chance.between(0, s.link.latency);
  s.link.ns_per_page = chance.between(500, std::int64_t{1} << chance.between(10, 16));
  s.link.buffer_bytes =
      static_cast<std::uint64_t>(chance.between(4, std::int64_t{1} << chance.between(4, 10))) *
      kKiB;
  s.timeout_ns = 200'000'000;
  if (chance.chance(65)) {
    s.mishap = static_cast<Mishap>(chance.between(1, static_cast<int>(Mishap::kSwitchNow)));
  }
  s.trigger_at_target = chance.chance(50);
  s.source_trigger = static_cast<SourceState>(chance.between(
      static_cast<int>(SourceState::kConnecting), static_cast<int>(SourceState::kCancelling)));
  s.target_trigger = static_cast<TargetState>(chance.between(
      static_cast<int>(TargetState::kNegotiating), static_cast<int>(TargetState::kCompleted)));
  s.mishap_delay_ns = static_cast<Ns>(chance.random.below(1ULL << chance.random.below(24)));
  constexpr std::uint32_t kChannelCounts[] = {1, 1, 2, kMostBulkChannels};
  s.options.channels = kChannelCounts[chance.random.below(std::size(kChannelCounts))];
  s.stall_ns = chance.between(1'000'000, 400'000'000);
  // Where no page comes after the switch, placing needs to map nothing.
  const bool postcopy = s.options.mode == Mode::kHybrid || s.options.mode == Mode::kPostcopy;
  if (postcopy && chance.chance(50)) {
    s.placing = engine::Placing::kMaps;
  }
  s.recovers = chance.chance(60);
  s.cuts = s.recovers ? static_cast<unsigned>(chance.between(1, 4)) : 1;
  s.between_cuts_ns = chance.between(0, std::int64_t{1} << chance.between(10, 26));
  const bool cuts = s.mishap == Mishap::kCutBoth || s.mishap == Mishap::kCutToTarget ||
                    s.mishap == Mishap::kCutToSource;
  if (s.recovers && cuts && chance.chance(70)) {
    s.trigger_at_target = false;
    s.source_trigger = static_cast<SourceState>(chance.between(
        static_cast<int>(SourceState::kHandover), static_cast<int>(SourceState::kDraining)));
  }
  s.outage_ns = s.recovers && chance.chance(50) ? chance.between(0, 50'000'000) : 0;
  return s;
}

std::string Scenario::describe() const {
  return fmt::format(
      "seed {}: mode {}, channels {}, dirty {}, placing maps {}, regions {}, mishap {} {:.3f} ms "
      "after {}, latency {} us, "
      "timeout {} ms, recovers {}, cuts {}",
      seed,
      engine::mode_name(options.mode),
      options.channels,
      static_cast<int>(dirty),
      placing == engine::Placing::kMaps,
      region_pages.size(),
      static_cast<int>(mishap),
      static_cast<double>(mishap_delay_ns) / 1e6,
      trigger_at_target ? to_string(target_trigger) : to_string(source_trigger),
      link.latency / 1000,
      timeout_ns / 1'000'000,
      recovers,
      cuts);
}

Outcome simulate(const Scenario& scenario) {
  return Simulation(scenario).run();
}

}  // namespace godwit::sim
