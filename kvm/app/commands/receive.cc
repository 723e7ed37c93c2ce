#include "cli/exit_code.h"
#include "cli/output.h"
#include "commands/commands.h"
#include "service/incoming.h"

namespace godwit::app {

int receive_command(const ReceiveLine& line, const Signals& signals) {
  Receiver receiver(line, signals);
  const auto code = receiver.run();
  if (!code) {
    complain(code.error().message());
    return setup_exit_code(code.error());
  }
  return *code;
}

}  // namespace godwit::app
