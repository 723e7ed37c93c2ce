#include "godwit/kvm/vm.h"

#include <gtest/gtest.h>

#include "godwit/base/mapping.h"
#include "godwit/base/units.h"
#include "godwit/kvm/vcpu.h"

#include "support/require_kvm.h"

namespace godwit::kvm {
namespace {

TEST(Vm, ChecksMemslots) {
  GODWIT_NEED_KVM();
  auto system = System::open();
  ASSERT_OK(system);
  auto vm = Vm::create(*system);
  ASSERT_OK(vm);
  auto memory = Mapping::anonymous(kMiB);
  ASSERT_OK(memory);
  EXPECT_EQ(vm->add_memslot({0, 0, memory->data()}).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(vm->add_memslot({0, 1, nullptr}).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(vm->add_memslot({1, 1, memory->data()}).error().code, ErrorCode::kInvalidArgument);
  EXPECT_FALSE(vm->set_dirty_logging(0, true).has_value());
  ASSERT_OK(vm->add_memslot({0, 256, memory->data()}));
  EXPECT_FALSE(vm->add_memslot({0, 256, memory->data()}).has_value()) << "slots that overlap";
  EXPECT_EQ(vm->add_memslot({.gpa = kMiB, .page_count = 1, .host = memory->data(), .first_page = 1})
                .error()
                .code,
            ErrorCode::kInvalidArgument)
      << "its words would not be the region's";
  EXPECT_EQ(vm->memslot_count(), 1U);
  EXPECT_EQ(vm->memslot(0).page_count, 256U);
  ASSERT_OK(vm->set_dirty_logging(0, true));
  ASSERT_OK(vm->set_dirty_logging(0, true));
  EXPECT_TRUE(vm->dirty_logging(0));
  ASSERT_OK(vm->set_dirty_logging(0, false));
  EXPECT_FALSE(vm->dirty_logging(0));
}

TEST(Vm, GivesEachNoteOfAWriteOnce) {
  GODWIT_NEED_KVM();
  auto system = System::open();
  ASSERT_OK(system);
  auto vm = Vm::create(*system);
  ASSERT_OK(vm);
  vm->note_written({1, 7});
  vm->note_written({0, 3});
  EXPECT_EQ(vm->take_written(), (std::vector<PageId>{{1, 7}, {0, 3}}));
  EXPECT_TRUE(vm->take_written().empty());
}

TEST(Vcpu, SurvivesAMoveAndKnowsItsClock) {
  GODWIT_NEED_KVM();
  auto system = System::open();
  ASSERT_OK(system);
  auto vm = Vm::create(*system);
  ASSERT_OK(vm);
  auto made = Vcpu::create(*system, *vm, 0);
  ASSERT_OK(made);
  const Vcpu vcpu = std::move(*made);
  const auto khz = vcpu.tsc_khz();
  ASSERT_OK(khz);
  EXPECT_GT(*khz, 100'000U);
  EXPECT_FALSE(Vcpu::create(*system, *vm, 0).has_value()) << "one vCPU twice";
}

}  // namespace
}  // namespace godwit::kvm
