#include "common/guest_memory.h"

#include <gtest/gtest.h>

#include "support/vm_flags.h"

namespace godwit::vmm {
namespace {

using test::vm_flags;

TEST(GuestMemory, IsKeptOutOfCoreDumpsUnlessTheUserWantsItThere) {
  for (const auto backing : {Backing::kMemfd, Backing::kAnonymous}) {
    for (const bool dumped : {false, true}) {
      const auto memory = OwnedMemory::create(
          {{0, 600}, {1ULL << 32, 16}}, backing, {.with_alias = true, .in_core_dumps = dumped});
      ASSERT_TRUE(memory) << memory.error().message();
      for (const auto& region : memory->view().regions) {
        for (const auto* at : {region.guest, region.alias}) {
          if (at != nullptr) {
            EXPECT_EQ(vm_flags(at).find("dd ") == std::string::npos, dumped) << vm_flags(at);
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace godwit::vmm
