#include "godwit/vmm/layout.h"

#include <cstring>

#include <gtest/gtest.h>

#include "godwit/base/mapping.h"
#include "godwit/base/units.h"

#include "guest/platform.h"
#include "guest/workload.h"

namespace godwit::vmm {
namespace {

constexpr std::uint64_t kCounterHz = 2'000'000'000;
constexpr std::uint64_t kPayloadPage = 256;

GuestConfig config_of(std::uint64_t memory_bytes) {
  GuestConfig config;
  config.memory_bytes = memory_bytes;
  config.populated_bytes = memory_bytes;
  config.working_set_bytes = memory_bytes / 4;
  return config;
}

template <typename T>
T load(const std::byte* at) {
  T value{};
  std::memcpy(&value, at, sizeof value);
  return value;
}

TEST(Layout, LiesInOrderAndIsWhereItSays) {
  const auto config = config_of(32 * kMiB);
  const auto space = Mapping::anonymous(config.memory_bytes).value();
  engine::GuestMemory memory;
  memory.regions.push_back({0, config.memory_bytes / kPageBytes, space.data()});
  const auto layout = lay_out(config, memory, kPayloadPage, kCounterHz);
  ASSERT_TRUE(layout) << layout.error().message();

  EXPECT_EQ(layout->tables_page, kPayloadPage + kPayloadPages);
  EXPECT_GT(layout->reserved_pages, layout->tables_page);
  EXPECT_EQ(layout->params_gpa, layout->reserved_pages * kPageBytes);
  EXPECT_EQ(layout->blocks_gpa, layout->params_gpa + kPageBytes);
  EXPECT_EQ(layout->table_page * kPageBytes, layout->blocks_gpa + config.vcpus * kPageBytes);
  EXPECT_GT(layout->data_page, layout->table_page);
  EXPECT_LE(layout->data_page + layout->data_pages, config.populated_bytes / kPageBytes);

  const auto params = load<guest::WorkloadParams>(space.data() + layout->params_gpa);
  EXPECT_EQ(params.magic, guest::kParamsMagic);
  EXPECT_EQ(params.ticks_per_ms, kCounterHz / 1000);
  EXPECT_EQ(params.blocks_gpa, layout->blocks_gpa);
  const auto block = load<guest::VcpuBlock>(space.data() + layout->blocks_gpa);
  EXPECT_EQ(block.magic, guest::kBlockMagic);
  EXPECT_EQ(block.fs_canary, guest::canary_value(config.seed, 0, guest::kCanaryFs));
  const auto pml4 = load<std::uint64_t>(space.data() + layout->tables_page * kPageBytes);
  EXPECT_EQ(pml4 & ~std::uint64_t{0xFFF}, (layout->tables_page + 1) * kPageBytes);
}

TEST(Layout, TakesTheRegionsOfAnotherMachine) {
  const auto config = config_of(32 * kMiB);
  const auto space = Mapping::anonymous(config.memory_bytes).value();
  engine::GuestMemory memory;
  constexpr std::uint64_t kLow = 24 * kMiB;
  memory.regions.push_back({0, kLow / kPageBytes, space.data()});
  memory.regions.push_back(
      {4 * kGiB, (config.memory_bytes - kLow) / kPageBytes, space.data() + kLow});
  const auto layout = lay_out(config, memory, kPayloadPage, kCounterHz);
  ASSERT_TRUE(layout) << layout.error().message();
  const auto params = load<guest::WorkloadParams>(space.data() + layout->params_gpa);
  ASSERT_EQ(params.segment_count, 2U);
  EXPECT_EQ(params.segments[1].gpa, 4 * kGiB);
}

TEST(Layout, RefusesAGuestWithoutRoomForData) {
  auto config = config_of(32 * kMiB);
  config.populated_bytes = 4 * kPageBytes;
  config.working_set_bytes = kPageBytes;
  const auto space = Mapping::anonymous(config.memory_bytes).value();
  engine::GuestMemory memory;
  memory.regions.push_back({0, config.memory_bytes / kPageBytes, space.data()});
  const auto layout = lay_out(config, memory, kPayloadPage, kCounterHz);
  ASSERT_FALSE(layout);
  EXPECT_EQ(layout.error().code, ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace godwit::vmm
