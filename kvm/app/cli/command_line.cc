#include "cli/command_line.h"

#include <algorithm>
#include <functional>
#include <string_view>
#include <utility>
#include <vector>

#include "cli/checks.h"
#include "cli/exit_code.h"
#include "cli/options.h"
#include "cli/parser.h"

namespace godwit::app {
namespace {

using Texts = std::vector<std::optional<std::string>>;

/// A command: how it is written, and how a line is made of its options' texts.
struct Entry {
  CommandSyntax syntax;
  std::function<Result<CommandLine>(const Texts&)> read;
};

template <typename Line>
Entry entry(const char* name, const char* help, OptionTable<Line> table, Line line = {}) {
  return {{name, help, table.heads()},
          [table = std::move(table),
           start = std::move(line)](const Texts& texts) -> Result<CommandLine> {
            auto read = start;
            GODWIT_TRY(table.read(read, texts));
            GODWIT_TRY(finish(read));
            return CommandLine(std::move(read));
          }};
}

Entry client(const char* name,
             const char* help,
             OptionTable<ClientLine> options = client_options()) {
  ClientLine line;
  line.command = name;
  return entry(name, help, std::move(options), std::move(line));
}

std::vector<Entry> all_commands() {
  return {
      entry("run", "starts a guest and serves its control socket", run_options()),
      entry("receive", "waits for one guest and runs it", receive_options()),
      entry("migrate", "migrates the guest behind a control socket", migrate_options()),
      entry("recover", "dials the target of a held migration again", recover_options()),
      client("status", "shows the guest's state"),
      client("report", "prints the report of a migration away from here", report_options()),
      client("switch", "ends pre-copy now", switch_options()),
      client("cancel", "cancels the migration, until it is committed"),
      client(
          "resume", "runs a held guest on at its source, by an operator's word", resume_options()),
      client("stop", "ends the guest and its process"),
      entry("demo", "source and target as two processes here, one migration", demo_options())};
}

}  // namespace

const char* const kGodwitVersion = GODWIT_VERSION;

ParsedCommandLine parse_command_line(int argc, const char* const* argv) {
  ParsedCommandLine out;
  out.json = std::any_of(
      argv, argv + argc, [](const char* text) { return std::string_view(text) == "--json"; });
  const auto commands = all_commands();
  std::vector<CommandSyntax> syntaxes;
  for (const auto& command : commands) {
    syntaxes.push_back(command.syntax);
  }
  auto split = split_command_line(argc, argv, kGodwitVersion, syntaxes);
  if (!split.command) {
    out.message = std::move(split.message);
    out.exit_code = split.exit_code;
    return out;
  }
  auto line = commands[*split.command].read(split.texts);
  if (!line) {
    out.message = line.error().message();
    out.exit_code = kExitUsage;
    return out;
  }
  out.line = std::move(*line);
  return out;
}

}  // namespace godwit::app
