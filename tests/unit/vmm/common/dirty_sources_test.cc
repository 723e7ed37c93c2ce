#include "common/dirty_sources.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace godwit::vmm {
namespace {

std::vector<std::string> names_for(GuestKind kind, DirtyChoice choice) {
  std::vector<std::string> names;
  for (const auto& tracker : trackers_for(kind, choice)) {
    names.emplace_back(dirty_choice_name(tracker.choice));
  }
  return names;
}

TEST(DirtySources, WhatEachGuestMayHaveTheBestFirst) {
  using List = std::vector<std::string>;
  const struct {
    DirtyChoice choice;
    List kvm;
    List process;
  } cases[] = {
      {DirtyChoice::kAuto, {"log", "ring"}, {"wp-async", "wp"}},
      {DirtyChoice::kLog, {"log"}, {}},
      {DirtyChoice::kRing, {"ring"}, {}},
      {DirtyChoice::kWp, {}, {"wp"}},
      {DirtyChoice::kWpAsync, {}, {"wp-async"}},
      {static_cast<DirtyChoice>(0), {}, {}},
  };
  for (const auto& one : cases) {
    const std::string name(dirty_choice_name(one.choice));
    EXPECT_EQ(names_for(GuestKind::kKvm, one.choice), one.kvm) << name;
    EXPECT_EQ(names_for(GuestKind::kProcess, one.choice), one.process) << name;
  }
}

TEST(DirtySources, EveryChoiceHasOneRow) {
  for (const auto& [choice, name] : kDirtyChoiceNames.entries()) {
    const auto rows = trackers_for(GuestKind::kKvm, choice).size() +
                      trackers_for(GuestKind::kProcess, choice).size();
    EXPECT_EQ(rows, choice == DirtyChoice::kAuto ? kDirtyChoiceNames.entries().size() - 1 : 1U)
        << name;
  }
}

TEST(DirtySources, OnlyRingsComeBeforeTheVcpus) {
  for (const auto kind : {GuestKind::kKvm, GuestKind::kProcess}) {
    for (const auto& tracker : trackers_for(kind, DirtyChoice::kAuto)) {
      EXPECT_NE(tracker.make, nullptr);
      EXPECT_EQ(tracker.enable != nullptr, tracker.choice == DirtyChoice::kRing);
    }
  }
}

TEST(DirtySources, WhatIsPossibleCanBeMade) {
  const engine::GuestMemory nothing;
  for (const auto& tracker : trackers_for(GuestKind::kProcess, DirtyChoice::kAuto)) {
    const auto possible = probe_dirty_choice(GuestKind::kProcess, tracker.choice);
    const auto made = tracker.make({.memory = nothing});
    ASSERT_EQ(made.has_value(), possible.has_value()) << dirty_choice_name(tracker.choice);
    if (made) {
      EXPECT_EQ(made->source->name(), dirty_choice_name(tracker.choice));
      EXPECT_FALSE(made->on_ring_full);
    }
  }
}

}  // namespace
}  // namespace godwit::vmm
