#include "link/network_site.h"

#include <gtest/gtest.h>

namespace godwit::lab {
namespace {

TEST(RunTool, TellsWhatWentWrong) {
  const auto missing = run_tool("no-such-tool", {});
  ASSERT_FALSE(missing);
  EXPECT_NE(missing.error().message().find("install iproute2"), std::string::npos);
  const auto failed = run_tool("ls", {"/nowhere/at/all"});
  ASSERT_FALSE(failed);
  EXPECT_NE(failed.error().message().find("/nowhere/at/all"), std::string::npos);
}

}  // namespace
}  // namespace godwit::lab
