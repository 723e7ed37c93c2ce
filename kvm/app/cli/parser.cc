#include "cli/parser.h"

#include <deque>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "cli/exit_code.h"

// The only file that sees CLI11, which is compiled slowly. It only splits the line into options:
// every value is read by our own codecs, which refuse what CLI11 would bend (negative sizes, octal
// numbers, overflow).

namespace godwit::app {
namespace {

struct Option {
  CLI::Option* parsed = nullptr;
  bool flag = false;
  std::string text;
  bool set = false;  ///< of a flag
};

class Parser {
 public:
  Parser(const char* version, std::span<const CommandSyntax> commands)
      : app_("godwit: live migration of KVM guests", "godwit") {
    app_.require_subcommand(1);
    app_.set_version_flag("--version", std::string("godwit ") + version);
    for (const auto& command : commands) {
      add(command);
    }
  }

  SplitLine parse(int argc, const char* const* argv) {
    SplitLine out;
    try {
      app_.parse(argc, argv);
    } catch (const CLI::Success& done) {  // --help, --version
      out.message = done.get_name() == "CallForVersion" ? std::string(done.what()) + "\n" : help();
      return out;
    } catch (const CLI::ParseError& error) {
      out.message = no_command(argc, argv).value_or(error.what());
      out.exit_code = kExitUsage;
      return out;
    }
    for (std::size_t i = 0; i < commands_.size(); ++i) {
      if (commands_[i].app->parsed()) {
        out.command = i;
        out.texts = texts_of(commands_[i]);
      }
    }
    return out;
  }

 private:
  struct Command {
    CLI::App* app = nullptr;
    std::deque<Option> options;  ///< CLI11 keeps references to them
  };

  void add(const CommandSyntax& syntax) {
    auto& command = commands_.emplace_back();
    command.app = app_.add_subcommand(syntax.name, syntax.help);
    for (const auto& head : syntax.options) {
      auto& option = command.options.emplace_back();
      option.flag = head.flag;
      option.parsed = head.flag ? command.app->add_flag(head.name, option.set, head.help)
                                : command.app->add_option(head.name, option.text, head.help);
      option.parsed->required(head.required);
      if (head.hidden) {
        option.parsed->group("");
      }
    }
  }

  static std::vector<std::optional<std::string>> texts_of(const Command& command) {
    std::vector<std::optional<std::string>> texts;
    for (const auto& option : command.options) {
      if (option.parsed->count() == 0) {
        texts.emplace_back();
      } else if (option.flag) {
        texts.emplace_back(option.set ? "true" : "false");
      } else {
        texts.emplace_back(option.text);
      }
    }
    return texts;
  }

  /// What to say when the first word is no command; CLI11 only says that one is missing.
  std::optional<std::string> no_command(int argc, const char* const* argv) const {
    if (argc < 2 || argv[1][0] == '-') {
      return std::nullopt;
    }
    std::string names;
    for (const auto& command : commands_) {
      if (command.app->get_name() == argv[1]) {
        return std::nullopt;
      }
      names += (names.empty() ? "" : ", ") + command.app->get_name();
    }
    return fmt::format("'{}' is no command; possible: {}", argv[1], names);
  }
  [[nodiscard]] std::string help() const {
    for (const auto& command : commands_) {
      if (command.app->parsed()) {
        return command.app->help("godwit");
      }
    }
    return app_.help();
  }

  CLI::App app_;
  std::deque<Command> commands_;
};

}  // namespace

SplitLine split_command_line(int argc,
                             const char* const* argv,
                             const char* version,
                             std::span<const CommandSyntax> commands) {
  return Parser(version, commands).parse(argc, argv);
}

}  // namespace godwit::app
