#include "godwit/kvm/system.h"

#include <utility>

#include <gtest/gtest.h>

#include "support/require_kvm.h"

namespace godwit::kvm {
namespace {

TEST(System, SaysWhatToDoWhenTheDeviceIsMissing) {
  const auto system = System::open("/dev/no-such-device");
  ASSERT_FALSE(system.has_value());
  EXPECT_EQ(system.error().code, ErrorCode::kUnsupported);
  EXPECT_NE(system.error().message().find("enable virtualisation"), std::string::npos)
      << system.error().message();
}

TEST(System, RefusesADeviceThatIsNotKvm) {
  const auto system = System::open("/dev/null");
  ASSERT_FALSE(system.has_value());
  EXPECT_EQ(system.error().code, ErrorCode::kUnsupported);
  EXPECT_FALSE(unusable_reason("/dev/null").empty());
}

TEST(System, KnowsTheHost) {
  GODWIT_NEED_KVM();
  auto opened = System::open();
  ASSERT_OK(opened);
  const System system = std::move(*opened);
  EXPECT_GE(system.fd(), 0);
  EXPECT_GT(system.run_bytes(), 0U);
  EXPECT_FALSE(system.msr_indices().empty());
  EXPECT_GT(system.supported_cpuid().size(), 8U);
  EXPECT_GE(system.memslots_max(), 32U);
  EXPECT_GE(system.physical_bits(), 36U);
  EXPECT_LE(system.physical_bits(), 52U);
}

}  // namespace
}  // namespace godwit::kvm
