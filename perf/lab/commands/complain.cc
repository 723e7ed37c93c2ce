#include <fmt/format.h>

#include "commands/commands.h"

namespace godwit::lab {

int complain(const Error& error) {
  fmt::print(stderr, "godwit-lab: {}\n", error.message());
  switch (error.code) {
    case ErrorCode::kInvalidArgument:
      return kExitUsage;
    case ErrorCode::kCancelled:
      return kExitInterrupted;
    default:
      return kExitEnvironment;
  }
}

}  // namespace godwit::lab
