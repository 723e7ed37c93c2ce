#include "cli/exit_code.h"

namespace godwit::app {

int setup_exit_code(const Error& error) {
  return error.code == ErrorCode::kInvalidArgument ? kExitUsage : kExitEnvironment;
}

}  // namespace godwit::app
