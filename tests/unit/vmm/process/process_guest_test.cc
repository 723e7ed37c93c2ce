#include "process/process_guest.h"

#include <atomic>
#include <chrono>
#include <cstring>
#include <numeric>
#include <set>
#include <thread>

#include <gtest/gtest.h>

#include "workload/workload_plan.h"

namespace godwit::vmm {
namespace {

using std::chrono::milliseconds;

GuestConfig small(Workload workload, std::uint32_t vcpus = 2) {
  GuestConfig config;
  config.memory_bytes = 16 * kMiB;
  config.populated_bytes = 8 * kMiB;
  config.working_set_bytes = 2 * kMiB;
  config.vcpus = vcpus;
  config.workload = workload;
  config.seed = 42;
  return config;
}

std::unique_ptr<Guest> make(const GuestConfig& config) {
  auto guest = make_process_guest(config, {}, {.force_instrumented = true});
  EXPECT_TRUE(guest) << guest.error().message();
  return guest ? std::move(*guest) : nullptr;
}

WorkloadPlan plan_of(const GuestConfig& config) {
  return *plan_workload(config, 0, 1'000'000'000);
}

Deadline soon() {
  return Deadline::after_ns(60'000'000'000);
}

/// What a migration does, without one: all bytes of all regions.
void copy_memory(const Guest& from, const Guest& to) {
  for (std::size_t i = 0; i < from.memory().regions.size(); ++i) {
    const auto& source = from.memory().regions[i];
    for (std::uint64_t page = 0; page < source.page_count; ++page) {
      const auto* bytes = source.guest + page * kPageBytes;
      static const std::byte kZero[kPageBytes] = {};
      if (std::memcmp(bytes, kZero, kPageBytes) != 0) {  // holes stay holes
        std::memcpy(to.memory().regions[i].guest + page * kPageBytes, bytes, kPageBytes);
      }
    }
  }
}

void expect_clean_sweep(Guest& guest) {
  const auto result = guest.sweep(soon());
  ASSERT_TRUE(result) << result.error().message();
  EXPECT_EQ(result->mismatches, 0U);
  EXPECT_EQ(result->pages_checked, result->pages_expected);
  EXPECT_EQ(guest.telemetry().guest_errors, 0U) << guest.telemetry().first_error;
}

/// Boots, waits for the fill, lets it work a little and pauses.
std::unique_ptr<Guest> paused(const GuestConfig& config) {
  auto guest = make(config);
  EXPECT_TRUE(guest->boot());
  EXPECT_TRUE(guest->sweep(soon()));
  std::this_thread::sleep_for(milliseconds(30));
  EXPECT_TRUE(guest->quiesce());
  return guest;
}

/// Moves a paused guest into a new machine by copying, and runs it there.
std::unique_ptr<Guest> moved(Guest& source, const GuestConfig& config) {
  auto target = make(config);
  copy_memory(source, *target);
  const auto state = source.save_state();
  EXPECT_TRUE(state);
  const auto loaded = target->load_state(*state);
  EXPECT_TRUE(loaded) << loaded.error().message();
  EXPECT_TRUE(target->run());
  return target;
}

class EveryWorkload : public ::testing::TestWithParam<Workload> {};

TEST_P(EveryWorkload, RunsCleanAndSweepsClean) {
  auto guest = make(small(GetParam()));
  ASSERT_TRUE(guest->boot());
  std::this_thread::sleep_for(milliseconds(200));
  expect_clean_sweep(*guest);
  EXPECT_TRUE(guest->filled());
  for (const auto& vcpu : guest->telemetry().vcpus) {
    EXPECT_GT(vcpu.steps, 10U);
  }
}

TEST_P(EveryWorkload, GoesOnInAnotherMachine) {
  const auto config = small(GetParam());
  auto source = paused(config);
  const auto before = source->telemetry();
  auto target = moved(*source, config);
  std::this_thread::sleep_for(milliseconds(50));
  expect_clean_sweep(*target);
  const auto after = target->telemetry();
  EXPECT_EQ(after.step_holes, 0U);
  for (std::size_t i = 0; i < after.vcpus.size(); ++i) {
    EXPECT_GT(after.vcpus[i].steps, before.vcpus[i].steps);
    EXPECT_EQ(after.vcpus[i].previous_step_ns, before.vcpus[i].last_step_ns);
    EXPECT_GT(after.vcpus[i].first_step_here_ns, 0);
    // The counter follows the host's clock through the move.
    const auto real = after.vcpus[i].first_step_ns - after.vcpus[i].previous_step_ns;
    const auto seen = after.vcpus[i].first_counter - after.vcpus[i].previous_counter;
    EXPECT_NEAR(static_cast<double>(seen), static_cast<double>(real), 20e6);
    EXPECT_GE(after.vcpus[i].largest_step_ns, real);
  }
  // What each machine counted is there, and only there.
  const auto sum = [](const Guest& guest, std::int64_t from_ns, std::int64_t to_ns) {
    const auto counted =
        guest.throughput(Throughput::number_of(from_ns), Throughput::number_of(to_ns) + 1);
    return std::accumulate(counted.touches.begin(), counted.touches.end(), std::uint64_t{0});
  };
  const auto now = monotonic_ns();
  const auto moved_ns = after.vcpus[0].previous_step_ns;
  EXPECT_GT(sum(*source, now - 60'000'000'000, now), 0U);
  EXPECT_GT(sum(*target, moved_ns, now), 0U);
  EXPECT_EQ(sum(*target, now - 60'000'000'000, moved_ns - Throughput::kIntervalNs), 0U);
}

INSTANTIATE_TEST_SUITE_P(All,
                         EveryWorkload,
                         ::testing::Values(Workload::kIdle,
                                           Workload::kSequentialWrite,
                                           Workload::kRandomWrite,
                                           Workload::kZipfWrite,
                                           Workload::kRandomRead,
                                           Workload::kSequentialRead));

TEST(ProcessGuest, EveryFillSweepsClean) {
  for (const auto fill : {Fill::kRandom, Fill::kCompressible, Fill::kZero, Fill::kAlternating}) {
    auto config = small(Workload::kRandomWrite);
    config.fill = fill;
    auto guest = make(config);
    ASSERT_TRUE(guest->boot());
    expect_clean_sweep(*guest);
    // The populated bytes are what was asked for, also when they are zeros.
    std::uint64_t populated = 0;
    ASSERT_TRUE(guest->populated().scan([&](PageRun run) { populated += run.bytes(); }));
    EXPECT_EQ(populated, config.populated_bytes);
  }
}

TEST(ProcessGuest, WorksInTwoRegionsWithAHole) {
  auto config = small(Workload::kRandomWrite);
  config.memory_bytes = 2 * kGiB;
  config.populated_bytes = kGiB + 8 * kMiB;
  config.working_set_bytes = config.populated_bytes;
  auto guest = make(config);
  ASSERT_EQ(guest->memory().regions.size(), 2U);
  ASSERT_TRUE(guest->boot());
  expect_clean_sweep(*guest);
}

TEST(ProcessGuest, KeepsItsRate) {
  auto config = small(Workload::kSequentialWrite, 1);
  config.rate_bytes_per_s = 20 * kMiB;
  auto guest = make(config);
  ASSERT_TRUE(guest->boot());
  ASSERT_TRUE(guest->sweep(soon()));
  const auto plan = plan_of(config);
  const auto touches = [&] {
    EXPECT_TRUE(guest->quiesce());
    const auto* table = reinterpret_cast<const std::uint32_t*>(
        guest->memory().page(page_id(guest->memory(), plan.table_page)));
    std::uint64_t sum = 0;
    for (std::uint64_t i = 0; i < plan.data_pages; ++i) {
      sum += table[i];
    }
    EXPECT_TRUE(guest->resume());
    return sum;
  };
  const auto from = touches();
  std::this_thread::sleep_for(milliseconds(400));
  const auto bytes = (touches() - from) * kPageBytes;
  EXPECT_LT(bytes, 12 * kMiB);  // never much faster; how much slower is up to the machine
  EXPECT_GT(bytes, kMiB);
}

// ---------------------------------------------------------------------------------- planted damage

struct Planted {
  GuestConfig config = small(Workload::kRandomWrite, 1);
  WorkloadPlan plan = plan_of(config);
  std::unique_ptr<Guest> guest = paused(config);
  std::byte* page(std::uint64_t number) {
    return guest->memory().page(page_id(guest->memory(), number));
  }

  /// A page outside of the working set: only the sweep can see it.
  std::uint64_t cold_page() const { return plan.data_page + plan.data_pages - 5; }
  SweepResult sweep() {
    EXPECT_TRUE(guest->resume());
    const auto result = guest->sweep(soon());
    EXPECT_TRUE(result);
    return result ? *result : SweepResult{};
  }
};

TEST(Damage, AFlippedBitIsFoundAndNamed) {
  Planted planted;
  planted.page(planted.cold_page())[1234] ^= std::byte{4};
  const auto result = planted.sweep();
  EXPECT_EQ(result.mismatches, 1U);
  EXPECT_EQ(result.first_bad_page, planted.cold_page());
  const auto telemetry = planted.guest->telemetry();
  EXPECT_EQ(telemetry.guest_errors, 1U);
  EXPECT_NE(telemetry.first_error.find("page " + std::to_string(planted.cold_page())),
            std::string::npos);
}

TEST(Damage, ALostPageAndAPageInTheWrongPlaceAreFound) {
  Planted planted;
  std::memset(planted.page(planted.cold_page()), 0, kPageBytes);
  std::memcpy(
      planted.page(planted.cold_page() + 1), planted.page(planted.cold_page() + 2), kPageBytes);
  const auto result = planted.sweep();
  EXPECT_EQ(result.mismatches, 2U);
  EXPECT_EQ(result.first_bad_page, planted.cold_page());
}

TEST(Damage, AStalePageIsFoundWithItsGeneration) {
  Planted planted;
  auto* table = reinterpret_cast<std::uint32_t*>(planted.page(planted.plan.table_page));
  const std::uint64_t victim = planted.plan.data_pages - 5;
  // A page that should have been rewritten twice since: the table and the register say so, the
  // content does not.
  ASSERT_EQ(table[victim], 0U);
  std::uint64_t hot = 0;
  while (table[hot] == 0) {
    ++hot;
  }
  const auto generation = table[hot];
  guest::write_page(reinterpret_cast<std::uint64_t*>(planted.page(planted.plan.data_page + hot)),
                    42,
                    guest::kFillRandom,
                    hot,
                    generation - 1ULL);
  EXPECT_TRUE(planted.guest->resume());
  // Either the workload touches it first or the sweep does: it is named in both cases.
  ASSERT_TRUE(planted.guest->sweep(soon()));
  const auto telemetry = planted.guest->telemetry();
  EXPECT_GE(telemetry.guest_errors, 1U);
  EXPECT_EQ(telemetry.first_error,
            "vcpu 0: page " + std::to_string(planted.plan.data_page + hot) + " holds generation " +
                std::to_string(generation - 1) + ", " + std::to_string(generation) + " expected");
}

TEST(Damage, APageAndItsTableEntryStaleTogetherAreFoundByTheSum) {
  Planted planted;
  auto* table = reinterpret_cast<std::uint32_t*>(planted.page(planted.plan.table_page));
  std::uint64_t hot = 0;
  while (table[hot] == 0) {
    ++hot;
  }
  --table[hot];
  guest::write_page(reinterpret_cast<std::uint64_t*>(planted.page(planted.plan.data_page + hot)),
                    42,
                    guest::kFillRandom,
                    hot,
                    table[hot]);
  const auto result = planted.sweep();
  EXPECT_EQ(result.mismatches, 1U);
  EXPECT_NE(planted.guest->telemetry().first_error.find("generation sum"), std::string::npos);
}

TEST(Damage, ALostTablePageParameterPageOrBlockIsFound) {
  for (const int which : {0, 1, 2}) {
    Planted planted;
    const auto number = which == 0   ? planted.plan.table_page
                        : which == 1 ? planted.plan.params_page
                                     : planted.plan.blocks_page;
    std::memset(planted.page(number), 0, kPageBytes);
    EXPECT_GE(planted.sweep().mismatches, 1U) << which;
  }
}

TEST(Damage, AFilledHoleIsFound) {
  Planted planted;
  const auto hole = planted.plan.first_hole() + 100;
  planted.page(hole)[0] = std::byte{1};
  const auto result = planted.sweep();
  EXPECT_EQ(result.mismatches, 1U);
  EXPECT_EQ(result.first_bad_page, hole);
}

TEST(Damage, ASkippedRegisterIsFound) {
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    auto config = small(Workload::kIdle);
    config.seed = seed;
    config.skip_register = true;
    auto source = paused(config);
    EXPECT_EQ(source->telemetry().guest_errors, 0U);
    auto target = moved(*source, config);
    ASSERT_TRUE(target->sweep(soon()));
    EXPECT_EQ(target->telemetry().guest_errors, 1U);
    EXPECT_NE(target->telemetry().first_error.find("canary register " + std::to_string(seed % 4)),
              std::string::npos);
  }
}

TEST(Damage, AForgottenStateSectionOrStepIsFound) {
  const auto config = small(Workload::kRandomWrite, 1);
  auto source = paused(config);
  auto state = *source->save_state();
  state[0].payload[4 * 8] ^= std::byte{1};  // the step number
  auto target = make(config);
  copy_memory(*source, *target);
  ASSERT_TRUE(target->load_state(state));
  ASSERT_TRUE(target->run());
  ASSERT_TRUE(target->sweep(soon()));
  EXPECT_EQ(target->telemetry().step_holes, 1U);
  EXPECT_GE(target->telemetry().guest_errors, 1U);
}

// ----------------------------------------------------------------------------------------- control

TEST(ProcessGuest, PausesAndResumesAHundredTimes) {
  auto guest = make(small(Workload::kRandomWrite));
  ASSERT_TRUE(guest->boot());
  ASSERT_TRUE(guest->sweep(soon()));
  std::int64_t last = 0;
  for (int round = 0; round < 100; ++round) {
    const auto edge = guest->quiesce();
    ASSERT_TRUE(edge);
    EXPECT_LE(edge->first_ns, edge->last_ns);
    EXPECT_GE(edge->first_ns, last);  // equal when a worker had no time to go on in between
    const auto before = guest->telemetry();
    const auto state = guest->save_state();
    ASSERT_TRUE(state);
    EXPECT_EQ(state->size(), 4U);
    const auto after = guest->telemetry();
    for (std::size_t i = 0; i < 2; ++i) {
      EXPECT_EQ(before.vcpus[i].steps, after.vcpus[i].steps);
    }
    last = edge->first_ns;
    ASSERT_TRUE(guest->resume());
    ASSERT_TRUE(guest->resume());  // legal when it runs
  }
  expect_clean_sweep(*guest);
}

TEST(ProcessGuest, HopsThroughThreeMachinesWithinTheFillToo) {
  auto config = small(Workload::kZipfWrite);
  config.memory_bytes = 64 * kMiB;
  config.populated_bytes = 64 * kMiB;
  auto guest = make(config);
  ASSERT_TRUE(guest->boot());
  for (int hop = 0; hop < 3; ++hop) {
    std::this_thread::sleep_for(milliseconds(5));
    ASSERT_TRUE(guest->quiesce());
    guest = moved(*guest, config);
  }
  expect_clean_sweep(*guest);
}

TEST(ProcessGuest, ReportsWhenItEntered) {
  const auto config = small(Workload::kIdle);
  auto source = paused(config);
  const auto before = monotonic_ns();
  auto target = moved(*source, config);
  ASSERT_TRUE(target->sweep(soon()));
  const auto edge = target->run_edge();
  EXPECT_GE(edge.first_ns, before);
  EXPECT_GE(edge.last_ns, edge.first_ns);
  EXPECT_LE(edge.first_ns, target->telemetry().vcpus[0].first_step_ns);
}

TEST(ProcessGuest, CallsInTheWrongPhaseAreErrors) {
  const auto config = small(Workload::kIdle);
  auto guest = make(config);
  EXPECT_EQ(guest->quiesce().error().code, ErrorCode::kState);
  EXPECT_EQ(guest->run().error().code, ErrorCode::kState);
  EXPECT_EQ(guest->resume().error().code, ErrorCode::kState);
  EXPECT_EQ(guest->save_state().error().code, ErrorCode::kState);
  EXPECT_EQ(guest->sweep(soon()).error().code, ErrorCode::kState);
  ASSERT_TRUE(guest->boot());
  EXPECT_EQ(guest->boot().error().code, ErrorCode::kState);
  EXPECT_EQ(guest->load_state({}).error().code, ErrorCode::kState);
  guest->stop();
  guest->stop();
  EXPECT_EQ(guest->sweep(soon()).error().code, ErrorCode::kState);
}

TEST(LoadState, RefusesAndStaysUsable) {
  const auto config = small(Workload::kRandomWrite);
  auto source = paused(config);
  const auto good = *source->save_state();
  auto target = make(config);
  copy_memory(*source, *target);

  const auto refused = [&](const std::vector<engine::StateSection>& sections, const char* what) {
    const auto status = target->load_state(sections);
    ASSERT_FALSE(status) << what;
    EXPECT_EQ(status.error().code, ErrorCode::kRefused) << what;
  };
  auto bad = good;
  bad.push_back(engine::StateSection{"gpu", 0, 1, true, {}});
  refused(bad, "unknown and required");
  for (std::size_t i = 0; i < good.size(); ++i) {
    bad = good;
    bad.erase(bad.begin() + static_cast<std::ptrdiff_t>(i));
    refused(bad, "missing");
    bad = good;
    bad.push_back(good[i]);
    refused(bad, "twice");
    bad = good;
    bad[i].version = 99;
    refused(bad, "version");
    bad = good;
    bad[i].payload.pop_back();
    refused(bad, "short");
    bad = good;
    bad[i].payload.push_back(std::byte{0});
    refused(bad, "long");
    bad = good;
    bad[i].instance = 77;
    refused(bad, "instance");
  }
  bad = good;
  bad[0].payload[15] = std::byte{0xFF};  // fill position far outside of the slice
  refused(bad, "range");

  bad = good;
  bad.push_back(engine::StateSection{"gpu", 0, 1, false, {}});
  ASSERT_TRUE(target->load_state(bad));  // unknown and optional: skipped
  ASSERT_TRUE(target->run());
  expect_clean_sweep(*target);
}

TEST(Description, CarriesTheConfig) {
  const auto config = small(Workload::kZipfWrite);
  auto guest = make(config);
  const auto description = guest->describe();
  EXPECT_EQ(description.kind, "process");
  EXPECT_EQ(description.vcpus, 2U);
  ASSERT_EQ(description.config.size(), 1U);
  const auto back = decode_config(description.config[0]);
  ASSERT_TRUE(back);
  EXPECT_EQ(back->workload, config.workload);
}

// ---------------------------------------------------------------------------------- dirty tracking

struct SetSink final : engine::DirtySink {
  std::mutex mutex;
  std::set<std::uint64_t> pages;
  void mark(RegionIndex, std::uint64_t word, std::uint64_t mask) override {
    const std::lock_guard lock(mutex);
    for (std::uint64_t bit = 0; bit < 64; ++bit) {
      if ((mask >> bit & 1) != 0) {
        pages.insert(word * 64 + bit);
      }
    }
  }
};

void expect_all_writes_marked(bool instrumented) {
  const auto config = small(Workload::kRandomWrite);
  auto made = make_process_guest(config, {}, {.force_instrumented = instrumented});
  ASSERT_TRUE(made);
  auto& guest = **made;
  ASSERT_TRUE(guest.boot());
  ASSERT_TRUE(guest.sweep(soon()));
  std::string why;
  auto* source = guest.dirty_source(why);
  ASSERT_NE(source, nullptr);
  if (!instrumented && std::string_view(source->name()) == "instrumented") {
    GTEST_SKIP() << "no userfaultfd write protection here: " << why;
  }
  ASSERT_TRUE(guest.quiesce());
  const auto& region = guest.memory().regions[0];
  std::vector<std::byte> before(region.guest, region.guest + config.populated_bytes);
  SetSink sink;
  ASSERT_TRUE(source->start(sink));
  ASSERT_TRUE(guest.resume());
  for (int round = 0; round < 5; ++round) {
    std::this_thread::sleep_for(milliseconds(10));
    ASSERT_TRUE(source->sync());
  }
  ASSERT_TRUE(guest.quiesce());
  ASSERT_TRUE(source->sync());
  std::uint64_t changed = 0;
  for (std::uint64_t page = 0; page < config.populated_bytes / kPageBytes; ++page) {
    if (std::memcmp(
            before.data() + page * kPageBytes, region.guest + page * kPageBytes, kPageBytes) != 0) {
      ++changed;
      EXPECT_TRUE(sink.pages.count(page) == 1) << "page " << page << " by " << source->name();
    }
  }
  EXPECT_GT(changed, 10U);
  source->stop();
  ASSERT_TRUE(guest.resume());
  expect_clean_sweep(guest);
}

TEST(DirtyTracking, TheWorkersOwnMarksCoverEveryChangedPage) {
  expect_all_writes_marked(true);
}
TEST(DirtyTracking, WriteProtectionCoversEveryChangedPage) {
  expect_all_writes_marked(false);
}

TEST(DirtyTracking, NothingIsMarkedAfterStop) {
  auto guest = make(small(Workload::kRandomWrite));
  ASSERT_TRUE(guest->boot());
  std::string why;
  auto* source = guest->dirty_source(why);
  for (int round = 0; round < 50; ++round) {
    auto sink = std::make_unique<SetSink>();
    ASSERT_TRUE(source->start(*sink));
    std::this_thread::sleep_for(std::chrono::microseconds(200));
    source->stop();
    sink.reset();  // a late mark would be a use after free
  }
  expect_clean_sweep(*guest);
}

}  // namespace
}  // namespace godwit::vmm
