#include "cli/command_line.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "godwit/base/units.h"

namespace godwit::app {
namespace {

ParsedCommandLine parse(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "godwit");
  return parse_command_line(static_cast<int>(arguments.size()), arguments.data());
}

template <typename Line>
Line line_of(std::vector<const char*> arguments) {
  const auto parsed = parse(std::move(arguments));
  EXPECT_TRUE(parsed.line) << parsed.message;
  if (!parsed.line || !std::holds_alternative<Line>(*parsed.line)) {
    ADD_FAILURE() << "another command";
    return {};
  }
  return std::get<Line>(*parsed.line);
}

TEST(CommandLine, EachCommandHasItsLine) {
  EXPECT_EQ(line_of<RunLine>({"run", "--control", "s"}).control, "s");
  EXPECT_EQ(line_of<ReceiveLine>({"receive", "--control=s"}).listen, "tcp:127.0.0.1:0");
  EXPECT_EQ(line_of<MigrateLine>({"migrate", "--control", "s", "--to", "tcp:7"}).to,
            "tcp:127.0.0.1:7");
  for (const auto* command : {"status", "report", "switch", "cancel", "resume", "stop"}) {
    EXPECT_EQ(line_of<ClientLine>({command, "--control", "s"}).command, command);
  }
  EXPECT_FALSE(line_of<DemoLine>({"demo"}).json);
}

TEST(CommandLine, SizesOfTheGuestDependOnEachOther) {
  struct Case {
    std::vector<const char*> arguments;
    std::uint64_t memory, populated, working_set;
  };
  for (const auto& [arguments, memory, populated, working_set] :
       {Case{{"demo"}, kGiB, kGiB, 256 * kMiB},
        Case{{"demo", "--memory=64MiB"}, 64 * kMiB, 64 * kMiB, 32 * kMiB},
        Case{{"demo", "--memory=4GiB", "--populated=64MiB"}, 4 * kGiB, 64 * kMiB, 32 * kMiB},
        Case{{"demo", "--working-set=8MiB"}, kGiB, kGiB, 8 * kMiB}}) {
    const auto config = line_of<DemoLine>(arguments).guest.config;
    EXPECT_EQ(config.memory_bytes, memory);
    EXPECT_EQ(config.populated_bytes, populated);
    EXPECT_EQ(config.working_set_bytes, working_set);
  }
}

TEST(CommandLine, ADemosToIsItsListen) {
  EXPECT_EQ(line_of<DemoLine>({"demo", "--to", "tcp:7"}).listen, "tcp:127.0.0.1:7");
  EXPECT_EQ(line_of<DemoLine>({"demo", "--to", "tcp:7", "--listen", "tcp:7"}).listen,
            "tcp:127.0.0.1:7");
  EXPECT_EQ(parse({"demo", "--to", "tcp:7", "--listen", "tcp:8"}).message,
            "--listen and --to name one address in a demo; give one of them");
}

TEST(CommandLine, HelpAndVersionAreNoErrors) {
  const auto version = parse({"--version"});
  EXPECT_EQ(version.message, "godwit " + std::string(kGodwitVersion) + "\n");
  EXPECT_EQ(version.exit_code, 0);
  const auto help = parse({"receive", "--help"});
  EXPECT_EQ(help.exit_code, 0);
  EXPECT_NE(help.message.find("--backing TEXT"), std::string::npos);
  EXPECT_EQ(help.message.find("--inject"), std::string::npos) << "hidden";
}

TEST(CommandLine, SaysWhatIsWrong) {
  struct Case {
    std::vector<const char*> arguments;
    const char* message;
  };
  for (const auto& [arguments, message] :
       {Case{{"dance"},
             "'dance' is no command; possible: run, receive, migrate, recover, status, report, "
             "switch, "
             "cancel, resume, stop, "
             "demo"},
        Case{{}, "A subcommand is required"},
        Case{{"migrate", "--to", "tcp:1"}, "--control is required"},
        Case{{"receive", "--control", "x", "--workload", "idle"},
             "The following arguments were not expected: idle --workload"},
        Case{{"demo", "--vcpus", "0"}, "--vcpus: '0' is not in 1..1000000"},
        Case{{"demo", "--memory="}, "--memory: 1 required TEXT missing"},
        Case{
            {"demo", "--mode", "sideways"},
            "--mode: 'sideways' is unknown; possible: hybrid, precopy, postcopy, stop-and-copy"}}) {
    const auto parsed = parse(arguments);
    EXPECT_FALSE(parsed.line);
    EXPECT_EQ(parsed.exit_code, 2);
    EXPECT_EQ(parsed.message, message);
  }
}

TEST(CommandLine, JsonIsWantedEvenWhereTheLineIsWrong) {
  EXPECT_TRUE(parse({"demo", "--vcpus", "0", "--json"}).json);
  EXPECT_FALSE(parse({"demo", "--vcpus", "0"}).json);
}

}  // namespace
}  // namespace godwit::app
