#include "exit_code.h"

#include <cstdio>
#include <string>

namespace godwit::app {

int setup_exit_code(const Error& error) {
  return error.code == ErrorCode::kInvalidArgument ? kExitUsage : kExitEnvironment;
}

void complain(std::string_view text) {
  const auto line = "godwit: " + std::string(text) + "\n";
  std::fwrite(line.data(), 1, line.size(), stderr);
  std::fflush(stderr);
}

}  // namespace godwit::app
