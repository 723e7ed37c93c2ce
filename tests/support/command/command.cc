#include "support/command/command.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <cstdlib>
#include <vector>

namespace godwit::test {
namespace {

/// More than any run of the lab in these tests takes, and less than ctest gives its test.
constexpr int kLabSeconds = 250;

std::string setting(const char* name, const char* usual) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : usual;
}

}  // namespace

Outcome run(const std::string& arguments, const Prepare& prepare) {
  Process process(arguments + " " + setting("GODWIT_COMMAND_OPTIONS", ""), prepare);
  return outcome_of(process, std::stoi(setting("GODWIT_COMMAND_SECONDS", "120")));
}

Outcome run_lab(const std::string& arguments, const Prepare& prepare) {
  Process process(lab_path(), words(arguments), prepare);
  return outcome_of(process, kLabSeconds);
}

Outcome run_shell(const std::string& line) {
  Process process("/bin/sh", {"-c", line});
  return outcome_of(process, kLabSeconds);
}

bool has_program(const std::string& name) {
  return run_shell("command -v " + name).code == 0;
}

Json ask(const std::string& control, const Json& request) {
  const Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  control.copy(address.sun_path, sizeof address.sun_path - 1);
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    return nullptr;
  }
  const auto line = json_text(request) + "\n";
  if (::send(fd.get(), line.data(), line.size(), MSG_NOSIGNAL) < 0) {
    return nullptr;
  }
  std::string received;
  char buffer[4096];
  while (true) {
    if (const auto end = received.find('\n'); end != std::string::npos) {
      auto json = parse_json(received.substr(0, end));
      if (json.is_discarded() || json.value("type", "") != "progress") {
        return json;
      }
      received.erase(0, end + 1);
      continue;
    }
    const auto got = ::recv(fd.get(), buffer, sizeof buffer, 0);
    if (got <= 0) {
      return nullptr;
    }
    received.append(buffer, static_cast<std::size_t>(got));
  }
}

Json ask(const std::string& control, const char* command) {
  return ask(control, Json{{"command", command}});
}

}  // namespace godwit::test
