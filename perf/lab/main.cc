#include <signal.h>
#include <sys/signalfd.h>

#include <filesystem>
#include <variant>

#include "godwit/base/fd.h"

#include "commands/command_line.h"
#include "commands/commands.h"

// godwit-lab: the judge of godwit's speed. Every run is a `godwit demo` with source and target as
// processes of their own, and counts only if its guest has verified every page.

namespace godwit::lab {
namespace {

/// The godwit command beside this program.
std::string default_godwit() {
  std::error_code error;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
  return (self.parent_path() / "godwit").string();
}

/// SIGINT and SIGTERM as a descriptor: the running child is ended first, results are kept.
Fd signals() {
  sigset_t set;
  ::sigemptyset(&set);
  ::sigaddset(&set, SIGINT);
  ::sigaddset(&set, SIGTERM);
  ::sigprocmask(SIG_BLOCK, &set, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  return Fd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
}

int lab_main(int argc, char** argv) {
  Common defaults;
  defaults.scenarios = GODWIT_SCENARIOS;
  defaults.godwit = default_godwit();
  auto line = parse_command_line(argc, argv, defaults);
  if (!line) {
    return line.error();
  }
  const auto interrupt = signals();
  line->common.interrupt_fd = interrupt.get();
  return std::visit([&](const auto& command) { return perform(line->common, command); },
                    line->command);
}

}  // namespace
}  // namespace godwit::lab

int main(int argc, char** argv) {
  return godwit::lab::lab_main(argc, argv);
}
