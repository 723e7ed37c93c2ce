#include <string>

#include <gtest/gtest.h>

#include "commands/commands.h"

namespace godwit::lab {
namespace {

TEST(Complain, TheExitCodeSaysWhoseFaultItIs) {
  struct Case {
    ErrorCode code;
    int exit_code;
  };
  for (const auto& one : {Case{ErrorCode::kInvalidArgument, kExitUsage},
                          Case{ErrorCode::kCancelled, kExitInterrupted},
                          Case{ErrorCode::kIo, kExitEnvironment},
                          Case{ErrorCode::kUnsupported, kExitEnvironment},
                          Case{ErrorCode::kPermission, kExitEnvironment}}) {
    testing::internal::CaptureStderr();
    EXPECT_EQ(complain(make_error(one.code, "scenario", "no such thing")), one.exit_code);
    EXPECT_EQ(testing::internal::GetCapturedStderr(), "godwit-lab: scenario: no such thing\n");
  }
}

}  // namespace
}  // namespace godwit::lab
