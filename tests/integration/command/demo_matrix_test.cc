// Migrations through the command itself: the product of modes, guests, vCPUs and workloads, and for
// everything else that can be chosen each pair of choices. The whole product is product_test.cc.

#include <cstdint>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "support/command/demo_case.h"

namespace godwit::test {
namespace {

class DemoMatrix : public testing::TestWithParam<DemoCase> {};

TEST_P(DemoMatrix, CompletesVerified) {
  run_demo_case(GetParam(), "128MiB");
}

std::vector<DemoCase> product() {
  std::vector<DemoCase> all;
  for (const auto* mode : {"hybrid", "precopy", "postcopy", "stop-and-copy"}) {
    for (const auto* guest : {"kvm", "process"}) {
      for (const int vcpus : {1, 2}) {
        for (const auto* workload : {"idle", "random-write", "random-read"}) {
          all.push_back({mode, guest, vcpus, workload});
        }
      }
    }
  }
  return all;
}

// Every two values of two columns meet at least once in each half; the second half is the process
// guest's.
std::vector<DemoCase> pairs() {
  std::vector<DemoCase> all;
  for (const auto* guest : {"kvm", "process"}) {
    const bool kvm = std::string(guest) == "kvm";
    const auto* first = kvm ? "log" : "wp";
    const auto* second = kvm ? "ring" : "wp-async";
    all.push_back({"hybrid", guest, 1, "random-write", "memfd", first, 1, "uring", true});
    all.push_back({"hybrid", guest, 2, "random-write", "anonymous", second, 4, "poll"});
    all.push_back({"precopy", guest, 1, "random-write", "memfd", second, 4, "poll", true});
    all.push_back({"precopy", guest, 2, "random-write", "anonymous", first, 1, "uring"});
    all.push_back({"postcopy", guest, 1, "random-write", "anonymous", second, 1, "poll"});
    all.push_back({"postcopy", guest, 2, "random-write", "memfd", first, 4, "uring"});
    all.push_back({"hybrid", guest, 1, "random-write", "anonymous", first, 4, "uring"});
    all.push_back({"hybrid", guest, 2, "random-write", "memfd", second, 1, "poll"});
    all.push_back({"precopy", guest, 2, "random-write", "memfd", second, 1, "uring"});
    all.push_back({"postcopy", guest, 1, "random-read", "anonymous", first, 4, "poll"});
    all.push_back(
        {"stop-and-copy", guest, 2, "random-write", "anonymous", "auto", 4, "poll", true});
    all.push_back({"stop-and-copy", guest, 1, "random-write", "memfd", "auto", 4, "uring"});
    all.push_back({"hybrid", guest, 1, "idle", "anonymous", second, 64, "uring"});
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(Product, DemoMatrix, testing::ValuesIn(product()), name_of);
INSTANTIATE_TEST_SUITE_P(Pairs, DemoMatrix, testing::ValuesIn(pairs()), name_of);

// What a guest has not written costs nothing: neither memory here, nor on the wire, nor page tables.
TEST(DemoAddressSpace, SixteenTebibytesCostWhatIsWritten) {
  for (const auto* guest : {"kvm", "process"}) {
    if (std::string(guest) == "kvm") {
      GODWIT_NEED_KVM();
    }
    for (const auto* backing : {"memfd", "anonymous"}) {
      const auto ran = run(
          fmt::format("demo --json --memory 16TiB --populated 64MiB --working-set 16MiB --workload "
                      "random-write --rate 64MiB --guest {} --backing {}",
                      guest,
                      backing));
      SCOPED_TRACE(guest + std::string(" ") + backing);
      ASSERT_EQ(ran.code, 0) << ran.all();
      constexpr std::uint64_t kMostBytes = 64ULL << 20;
      EXPECT_LE(ran.json["pages"]["populated"].get<std::uint64_t>(), kMostBytes >> 12U);
      for (const auto* side : {"source", "target"}) {
        EXPECT_LT(ran.json["overhead_bytes"][side].get<std::uint64_t>(), kMostBytes) << side;
        EXPECT_LT(ran.json["page_table_bytes"][side].get<std::uint64_t>(), kMostBytes / 8) << side;
      }
    }
  }
}

// A writer that is faster than the link writes what the target still lacks.
TEST(DemoFaults, AWriterAtFullSpeedWaitsForPages) {
  for (const auto* mode : {"hybrid", "postcopy"}) {
    for (const auto* guest : {"kvm", "process"}) {
      if (std::string(guest) == "kvm") {
        GODWIT_NEED_KVM();
      }
      const auto ran = run(fmt::format(
          "demo --json --memory 128MiB --workload random-write --mode {} --guest {}", mode, guest));
      ASSERT_EQ(ran.code, 0) << ran.all();
      EXPECT_GT(ran.json["faults"]["count"].get<std::uint64_t>(), 0U) << mode << " " << guest;
    }
  }
}

}  // namespace
}  // namespace godwit::test
