#include "cli/output.h"

#include <cstdio>
#include <string>

#include "cli/exit_code.h"

namespace godwit::app {

void print_to(std::FILE* stream, std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stream);
  std::fflush(stream);
}

void complain(std::string_view text) {
  print_to(stderr, "godwit: " + std::string(text) + "\n");
}

int finish_output(int code) {
  const bool flushed = std::fflush(stdout) == 0;
  if (flushed && std::ferror(stdout) == 0) {
    return code;
  }
  complain("the result could not be written to stdout");
  return code == kExitOk ? static_cast<int>(kExitEnvironment) : code;
}

}  // namespace godwit::app
