#include <functional>

#include <gtest/gtest.h>

#include "godwit/base/random.h"
#include "godwit/vmm/guest.h"

namespace godwit::vmm {
namespace {

GuestConfig small() {
  GuestConfig config;
  config.memory_bytes = 16 * kMiB;
  config.populated_bytes = 8 * kMiB;
  config.working_set_bytes = 2 * kMiB;
  return config;
}

TEST(Validate, AcceptsWhatTheCommandLineOffers) {
  EXPECT_TRUE(validate(small()));
  EXPECT_TRUE(validate(GuestConfig{}));
  auto huge = GuestConfig{};
  huge.memory_bytes = 1024 * kGiB;
  EXPECT_TRUE(validate(huge));
  // The guest's page tables follow what is populated.
  huge.memory_bytes = 64 * 1024 * kGiB;
  huge.populated_bytes = 64 * kMiB;
  huge.working_set_bytes = 32 * kMiB;
  EXPECT_TRUE(validate(huge));
}

TEST(Validate, NamesTheFieldThatIsOff) {
  struct Case {
    const char* field;
    std::function<void(GuestConfig&)> spoil;
  };
  const Case cases[] = {
      {"kind", [](GuestConfig& c) { c.kind = static_cast<GuestKind>(0); }},
      {"workload", [](GuestConfig& c) { c.workload = static_cast<Workload>(7); }},
      {"workload", [](GuestConfig& c) { c.workload = static_cast<Workload>(0); }},
      {"fill", [](GuestConfig& c) { c.fill = static_cast<Fill>(5); }},
      {"backing", [](GuestConfig& c) { c.backing = static_cast<Backing>(9); }},
      {"vcpus", [](GuestConfig& c) { c.vcpus = 0; }},
      {"vcpus", [](GuestConfig& c) { c.vcpus = 65; }},
      {"memory_bytes", [](GuestConfig& c) { c.memory_bytes = 0; }},
      {"memory_bytes", [](GuestConfig& c) { c.memory_bytes = UINT64_MAX; }},
      {"memory_bytes", [](GuestConfig& c) { c.memory_bytes += 4096; }},
      {"populated_bytes", [](GuestConfig& c) { c.populated_bytes = c.memory_bytes + 4096; }},
      {"populated_bytes", [](GuestConfig& c) { c.populated_bytes -= 1; }},
      {"populated_bytes", [](GuestConfig& c) { c.populated_bytes = 4096; }},
      {"populated_bytes",
       [](GuestConfig& c) {
         c.memory_bytes = 64 * 1024 * kGiB;
         c.populated_bytes = 16 * 1024 * kGiB;
       }},
      {"working_set_bytes", [](GuestConfig& c) { c.working_set_bytes = c.populated_bytes + 1; }},
      {"working_set_bytes", [](GuestConfig& c) { c.working_set_bytes = 0; }},
  };
  for (const auto& c : cases) {
    auto config = small();
    c.spoil(config);
    const auto status = validate(config);
    ASSERT_FALSE(status) << c.field;
    EXPECT_EQ(status.error().code, ErrorCode::kInvalidArgument);
    EXPECT_STREQ(status.error().operation, c.field) << status.error().message();
  }
}

TEST(ConfigCodec, RoundTrips) {
  auto config = small();
  config.kind = GuestKind::kKvm;
  config.vcpus = 3;
  config.workload = Workload::kZipfWrite;
  config.rate_bytes_per_s = 123456789;
  config.fill = Fill::kCompressible;
  config.seed = 0xFEEDFACECAFEBEEFULL;
  config.skip_register = true;
  config.backing = Backing::kAnonymous;
  const auto back = decode_config(encode_config(config));
  ASSERT_TRUE(back) << back.error().message();
  EXPECT_EQ(back->kind, config.kind);
  EXPECT_EQ(back->memory_bytes, config.memory_bytes);
  EXPECT_EQ(back->populated_bytes, config.populated_bytes);
  EXPECT_EQ(back->working_set_bytes, config.working_set_bytes);
  EXPECT_EQ(back->vcpus, config.vcpus);
  EXPECT_EQ(back->workload, config.workload);
  EXPECT_EQ(back->rate_bytes_per_s, config.rate_bytes_per_s);
  EXPECT_EQ(back->fill, config.fill);
  EXPECT_EQ(back->seed, config.seed);
  EXPECT_TRUE(back->skip_register);
  EXPECT_EQ(back->backing, config.backing);
}

TEST(ConfigCodec, ReadsVersionOneWhichHadNoBacking) {
  auto old = encode_config(small());
  old.version = 1;
  old.payload.resize(old.payload.size() - sizeof(std::uint32_t));
  const auto config = decode_config(old);
  ASSERT_TRUE(config) << config.error().message();
  EXPECT_EQ(config->backing, Backing::kMemfd);
}

TEST(ConfigCodec, RefusesEveryWrongSizeAndForeignHeader) {
  const auto good = encode_config(small());
  for (std::size_t size = 0; size < good.payload.size() + 4; ++size) {
    if (size == good.payload.size()) {
      continue;
    }
    auto bad = good;
    bad.payload.resize(size);
    EXPECT_FALSE(decode_config(bad)) << size;
  }
  auto bad = good;
  bad.version = 3;
  EXPECT_EQ(decode_config(bad).error().code, ErrorCode::kVersion);
  bad = good;
  bad.name = "vcpu";
  EXPECT_FALSE(decode_config(bad));
}

TEST(ConfigCodec, WhateverAMutationDecodesToIsValid) {
  SplitMix64 random(7);
  const auto good = encode_config(small());
  for (int round = 0; round < 20000; ++round) {
    auto bad = good;
    for (auto flips = 1 + random.below(3); flips > 0; --flips) {
      bad.payload[random.below(bad.payload.size())] = static_cast<std::byte>(random.next());
    }
    if (const auto config = decode_config(bad)) {
      EXPECT_TRUE(validate(*config)) << "seed 7, round " << round;
    }
  }
}

TEST(Names, RoundTrip) {
  for (int i = 1; i <= 6; ++i) {
    const auto workload = static_cast<Workload>(i);
    EXPECT_EQ(parse_workload(workload_name(workload)), workload);
  }
  for (int i = 1; i <= 4; ++i) {
    EXPECT_EQ(parse_fill(fill_name(static_cast<Fill>(i))), static_cast<Fill>(i));
  }
  for (const auto backing : {Backing::kMemfd, Backing::kAnonymous, Backing::kHugetlb}) {
    EXPECT_EQ(parse_backing(backing_name(backing)), backing);
  }
  EXPECT_EQ(parse_backing("file"), std::nullopt);
  EXPECT_EQ(parse_workload("random"), std::nullopt);
  EXPECT_EQ(parse_workload(""), std::nullopt);
  EXPECT_EQ(parse_fill(""), std::nullopt);
}

TEST(RegionLayout, HasTwoRegionsFromTwoGibibytesOn) {
  EXPECT_EQ(region_layout(2 * kGiB - 2 * kMiB).size(), 1U);
  for (const auto bytes : {2 * kGiB, 2 * kGiB + 2 * kMiB, 9 * kGiB, 1024 * kGiB}) {
    const auto regions = region_layout(bytes);
    ASSERT_EQ(regions.size(), 2U);
    EXPECT_EQ((regions[0].page_count + regions[1].page_count) * kPageBytes, bytes);
    EXPECT_GE(regions[1].gpa, 4 * kGiB);
    EXPECT_GE(regions[1].gpa, regions[0].page_count * kPageBytes);
    EXPECT_EQ(regions[0].page_count * kPageBytes % (2 * kMiB), 0U);
    EXPECT_EQ(regions[1].gpa % (2 * kMiB), 0U);
  }
}

}  // namespace
}  // namespace godwit::vmm
