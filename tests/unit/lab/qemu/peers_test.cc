#include "qemu/peers.h"

#include <gtest/gtest.h>

namespace godwit::lab {
namespace {

TEST(QemuMode, ParsesPeersOnceEach) {
  const auto all = parse_peers({"qemu:multifd-3", "qemu", "qemu:postcopy"});
  ASSERT_TRUE(all);
  EXPECT_EQ(all->size(), all_qemu_modes().size() + 1);
  EXPECT_EQ(all->front().name, "multifd-3");
  EXPECT_FALSE(parse_peers({"xen"}));
  EXPECT_FALSE(parse_peers({"xen:precopy"}));
}

}  // namespace
}  // namespace godwit::lab
