#include "cli/checks.h"

#include <string>

#include <gtest/gtest.h>

#include "godwit/base/units.h"

namespace godwit::app {
namespace {

using engine::Mode;

struct Case {
  PlantedKind fault;
  Mode mode;
  vmm::Workload workload;
  vmm::Fill fill;
  const char* why;  ///< empty: it can be shown
};

TEST(Checks, APlantedFaultCanBeShown) {
  constexpr auto kWrites = vmm::Workload::kRandomWrite;
  constexpr auto kReads = vmm::Workload::kRandomRead;
  constexpr auto kRandom = vmm::Fill::kRandom;
  constexpr auto kZero = vmm::Fill::kZero;
  const char* stale =
      "--inject stale-page: needs a writing --workload and --mode hybrid or precopy";
  const char* delay = "--inject fault-delay: needs --mode hybrid or postcopy";
  const char* bytes =
      ": needs --fill random, compressible or alternating; a page of zeros has no bytes on the "
      "wire";
  for (const auto& [fault, mode, workload, fill, why] :
       {Case{PlantedKind::kNone, Mode::kStopAndCopy, kReads, kZero, ""},
        Case{PlantedKind::kStalePage, Mode::kHybrid, kWrites, kZero, ""},
        Case{PlantedKind::kStalePage, Mode::kPrecopy, kWrites, kRandom, ""},
        Case{PlantedKind::kStalePage, Mode::kPostcopy, kWrites, kRandom, stale},
        Case{PlantedKind::kStalePage, Mode::kHybrid, kReads, kRandom, stale},
        Case{PlantedKind::kFaultDelay, Mode::kPostcopy, kReads, kRandom, ""},
        Case{PlantedKind::kFaultDelay, Mode::kPrecopy, kReads, kRandom, delay},
        Case{PlantedKind::kFaultDelay, Mode::kStopAndCopy, kReads, kRandom, delay},
        Case{PlantedKind::kDropPage, Mode::kHybrid, kReads, kRandom, ""},
        Case{PlantedKind::kDropPage, Mode::kHybrid, kReads, kZero, bytes},
        Case{PlantedKind::kFlipBit, Mode::kHybrid, kReads, kZero, bytes},
        Case{PlantedKind::kSkipRegister, Mode::kHybrid, kReads, kZero, ""}}) {
    MigrationSettings migration;
    migration.planted.fault = fault;
    migration.source.mode = mode;
    vmm::GuestConfig config;
    config.workload = workload;
    config.fill = fill;
    const auto checked = check_planted(migration, config);
    const auto said = checked ? std::string() : checked.error().message();
    const auto expected =
        why == bytes ? "--inject " + std::string(kPlantedFaultNames.name_of(fault)) + why : why;
    EXPECT_EQ(said, expected);
  }
}

TEST(Checks, AnotherNamespaceDoesNotReachALoopback) {
  DemoLine line;
  EXPECT_TRUE(check_namespaces(line));
  line.source_netns = "a";
  EXPECT_EQ(
      check_namespaces(line).error().message(),
      "--listen tcp:127.0.0.1:0: another network namespace does not reach it; give an address "
      "of the target's, --listen tcp:HOST:0");
  line.target_netns = "a";
  EXPECT_TRUE(check_namespaces(line)) << "one loopback for both";
  line.target_netns = "b";
  line.listen = "tcp:192.0.2.1:0";
  EXPECT_TRUE(check_namespaces(line));
  line.listen = "unix:/u";
  EXPECT_TRUE(check_namespaces(line)) << "a file works from anywhere";
}

TEST(Checks, AGuestIsValidAndTrackedByWhatItsKindHas) {
  GuestSettings guest;
  guest.memory_bytes = 64 * kMiB;
  guest.working_set_bytes = 65 * kMiB;
  EXPECT_FALSE(finish_guest(guest));
  guest.working_set_bytes.reset();
  EXPECT_TRUE(finish_guest(guest));
  EXPECT_EQ(guest.config.working_set_bytes, 32 * kMiB);
  guest.config.dirty = vmm::DirtyChoice::kRing;
  EXPECT_TRUE(finish_guest(guest)) << "auto: the host decides";
  guest.choice = GuestChoice::kProcess;
  EXPECT_FALSE(finish_guest(guest));
  guest.choice = GuestChoice::kKvm;
  EXPECT_TRUE(finish_guest(guest));
}

}  // namespace
}  // namespace godwit::app
