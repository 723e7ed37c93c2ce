#include <cstdlib>
#include <map>
#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "simulator.h"

namespace godwit::sim {
namespace {

/// GODWIT_SIM_SEED replays one seed; GODWIT_SIM_SEEDS says how many run.
std::uint64_t number_from(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

constexpr std::uint64_t kSeeds = 2000;
/// A planted bug must show within this many seeds.
constexpr std::uint64_t kBugSeeds = 400;

std::string explain(const Scenario& scenario, const Outcome& outcome) {
  auto text = fmt::format("{}\nended {} / {}; replay with GODWIT_SIM_SEED={}\n",
                          scenario.describe(),
                          to_string(outcome.source),
                          to_string(outcome.target),
                          scenario.seed);
  for (const auto& violation : outcome.violations) {
    text += "  " + violation + "\n";
  }
  return text;
}

/// How many of the first seeds show a violation that contains `what`, with the bug planted.
std::uint64_t seeds_that_find(const SimBugs& bugs, const std::string& what) {
  std::uint64_t found = 0;
  for (std::uint64_t seed = 1; seed <= kBugSeeds; ++seed) {
    for (const auto& violation : simulate(Scenario::from_seed(seed, bugs)).violations) {
      if (violation.find(what) != std::string::npos) {
        ++found;
        break;
      }
    }
  }
  return found;
}

TEST(Simulation, KeepsEveryPromiseOnEverySeed) {
  const auto first = number_from("GODWIT_SIM_SEED", 1);
  const auto last =
      std::getenv("GODWIT_SIM_SEED") != nullptr ? first : number_from("GODWIT_SIM_SEEDS", kSeeds);
  std::map<std::string, std::uint64_t> ends;
  Outcome sum;
  for (auto seed = first; seed <= last; ++seed) {
    const auto scenario = Scenario::from_seed(seed);
    const auto outcome = simulate(scenario);
    ASSERT_TRUE(outcome.violations.empty()) << explain(scenario, outcome);
    ++ends[fmt::format("{} / {}", to_string(outcome.source), to_string(outcome.target))];
    sum.demand += outcome.demand;
    sum.overtaken += outcome.overtaken;
    sum.resent += outcome.resent;
    sum.recovered += outcome.recovered;
    sum.sent_again += outcome.sent_again;
  }
  for (const auto& [pair, count] : ends) {
    fmt::print("{:6} x {}\n", count, pair);
  }
  fmt::print(
      "demand {}, overtaken {}, sent again in pre-copy {}, links that came back {}, pages lost "
      "with a link and sent again {}\n",
      sum.demand,
      sum.overtaken,
      sum.resent,
      sum.recovered,
      sum.sent_again);
  if (last - first + 1 >= kSeeds) {
    // The seeds reach what they are there for.
    EXPECT_GT(ends["completed / completed"], kSeeds / 4);
    EXPECT_GT(ends["rolled-back / in-doubt"], 0U);
    EXPECT_GT(ends["suspended / in-doubt"], 0U);
    EXPECT_GT(ends["suspended / suspended"], 0U);
    EXPECT_GT(ends["suspended / completed"], 0U);
    EXPECT_GT(ends["rolled-back / cancelled"], 0U);
    EXPECT_GT(sum.demand, 0U);
    EXPECT_GT(sum.overtaken, 0U);
    EXPECT_GT(sum.resent, 0U);
    EXPECT_GT(sum.recovered, 0U);
    EXPECT_GT(sum.sent_again, 0U);
  }
}

TEST(Simulation, RepeatsItselfFromTheSeed) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    const auto once = simulate(Scenario::from_seed(seed));
    const auto again = simulate(Scenario::from_seed(seed));
    EXPECT_EQ(once.ended_at, again.ended_at);
    EXPECT_EQ(once.source, again.source);
    EXPECT_EQ(once.demand, again.demand);
  }
}

TEST(PlantedBug, CommitBeforeReadyIsFound) {
  SimBugs bugs;
  bugs.source.commit_before_ready = true;
  EXPECT_GT(seeds_that_find(bugs, "illegal end"), 0U);
}

TEST(PlantedBug, RingRecordPublishedBeforeResetIsFound) {
  SimBugs bugs;
  bugs.publish_before_reset = true;
  EXPECT_GT(seeds_that_find(bugs, "stale read"), 0U);
}

TEST(PlantedBug, LogClearedAfterThePageReadIsFound) {
  SimBugs bugs;
  bugs.clear_after_read = true;
  EXPECT_GT(seeds_that_find(bugs, "stale read"), 0U);
}

TEST(PlantedBug, PrecopyFrameAppliedAfterTheSwitchIsFound) {
  SimBugs bugs;
  bugs.late_precopy_frame = true;
  bugs.accept_late_precopy = true;
  EXPECT_GT(seeds_that_find(bugs, "stale read"), 0U);
}

TEST(PlantedBug, PrecopyFrameAfterTheSwitchDoesNoHarmWhereItIsRejected) {
  SimBugs bugs;
  bugs.late_precopy_frame = true;
  EXPECT_EQ(seeds_that_find(bugs, ""), 0U);
}

TEST(PlantedBug, SkippedBarrierIsFoundByTheFinalSync) {
  SimBugs bugs;
  bugs.skip_barrier = true;
  EXPECT_GT(seeds_that_find(bugs, "disagree"), 0U);
  EXPECT_EQ(seeds_that_find(bugs, "stale read"), 0U);
}

TEST(PlantedBug, AnnouncementOnAnotherChannelThanThePagesIsFoundByTheFinalSync) {
  SimBugs bugs;
  bugs.no_chunk_rule = true;
  EXPECT_GT(seeds_that_find(bugs, "disagree"), 0U);
}

TEST(PlantedBug, OldPageLeftInThePageTableIsFound) {
  SimBugs bugs;
  bugs.skip_retract = true;
  EXPECT_GT(seeds_that_find(bugs, "stale read"), 0U);
}

TEST(PlantedBug, ClaimsOfALostLinkThatAreNotGivenBackAreFound) {
  SimBugs bugs;
  bugs.keep_claims = true;
  EXPECT_GT(seeds_that_find(bugs, "disagree about the missing pages after a lost link"), 0U);
}

TEST(PlantedBug, MissingPagesOfAnOlderLinkAreFound) {
  SimBugs bugs;
  bugs.old_missing = true;
  EXPECT_GT(seeds_that_find(bugs, "disagree about the missing pages after a lost link"), 0U);
}

TEST(PlantedBug, NoneIsFoundWhereNoneIsPlanted) {
  EXPECT_EQ(seeds_that_find({}, ""), 0U);
}

TEST(PlantedBug, TwoWritersOfOnePageAreFound) {
  SimBugs bugs;
  bugs.skip_claim = true;
  EXPECT_GT(seeds_that_find(bugs, "two writers"), 0U);
}

}  // namespace
}  // namespace godwit::sim
