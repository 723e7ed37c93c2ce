#include "qemu/pc_image.h"

#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include <gtest/gtest.h>

#include "ground/temporary_directory.h"
#include "guest/pc_platform.h"

namespace godwit::lab {
namespace {

vmm::GuestConfig config() {
  vmm::GuestConfig out;
  out.kind = vmm::GuestKind::kKvm;
  out.memory_bytes = 64ULL << 20;
  out.populated_bytes = 32ULL << 20;
  out.working_set_bytes = 8ULL << 20;
  return out;
}

TEST(PcImage, HoldsThePayloadAndWhereItFindsItsThings) {
  const auto directory = TemporaryDirectory::create();
  ASSERT_TRUE(directory);
  const auto path = directory->file("image");
  const auto image = write_pc_image(config(), 2'000'000'000, path);
  ASSERT_TRUE(image) << image.error().message();
  EXPECT_GT(image->data_pages, 7000U);
  EXPECT_LT(image->data_pages, (32ULL << 20) / 4096);
  std::ifstream file(path, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(file)), {});
  ASSERT_GT(bytes.size(), guest::kPcBootOffset + sizeof(guest::PcBoot));
  EXPECT_EQ(bytes.size() % 4096, 0U);
  guest::PcBoot boot{};
  std::memcpy(&boot, bytes.data() + guest::kPcBootOffset, sizeof boot);
  for (const auto gpa : {boot.tables_gpa, boot.params_gpa, boot.fs_base, boot.gs_base}) {
    EXPECT_GE(gpa, guest::kPcImageGpa) << "above the firmware's memory";
    EXPECT_LT(gpa, guest::kPcImageGpa + bytes.size()) << "in the image";
  }
  EXPECT_NE(boot.fs_base, boot.gs_base);
}

TEST(PcImage, TooLittleMemoryIsRefused) {
  auto small = config();
  small.populated_bytes = 64 << 10;
  EXPECT_FALSE(write_pc_image(small, 2'000'000'000, "/dev/null"));
}

TEST(PcImage, ACounterTicksMoreThanAHundredMillionTimesASecond) {
  EXPECT_GT(measure_counter_hz(), 100'000'000U);
}

}  // namespace
}  // namespace godwit::lab
