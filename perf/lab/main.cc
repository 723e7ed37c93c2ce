#include <signal.h>
#include <sys/signalfd.h>

#include <filesystem>

#include <CLI/CLI.hpp>

#include "godwit/base/fd.h"

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

void add_common(CLI::App& app, Common& common) {
  app.add_option("--scenarios", common.scenarios, "directory of scenario files")
      ->capture_default_str();
  app.add_option("--godwit", common.godwit, "command to measure")->capture_default_str();
  app.add_option("--out", common.out, "file for the rows, JSON lines");
  app.add_flag("--json", common.json, "rows on stdout instead of tables");
}

CLI::App* add_report(CLI::App& app, ReportLine& line) {
  auto* report = app.add_subcommand("report", "one HTML page from result files");
  report->add_option("files", line.files, "results, as --out writes them")
      ->required()
      ->check(CLI::ExistingFile);
  report->add_option("--out", line.out, "the page")->required();
  return report;
}

int lab_main(int argc, char** argv) {
  Common common;
  common.scenarios = GODWIT_SCENARIOS;
  common.godwit = default_godwit();
  RunLine run_line;
  CompareLine compare_line;
  CLI::App app("godwit-lab: measures migrations on this machine");
  app.require_subcommand(1);
  auto* list = app.add_subcommand("list", "shows scenarios and sets");
  list->add_option("--scenarios", common.scenarios, "directory of scenario files");
  auto* run = app.add_subcommand("run", "measures a scenario or a set and checks its limits");
  run->add_option("name", run_line.name, "scenario or set")->required();
  run->add_option("--runs", run_line.runs, "runs of each point (as the scenario says)")
      ->check(CLI::Range(1U, 1000U));
  run->add_option("--qemu", run_line.qemu, "QEMU's program, for scenarios with peers")
      ->capture_default_str();
  add_common(*run, common);
  auto* compare = app.add_subcommand(
      "compare", "measures two sides in turns, or reads two result files: are they different?");
  auto* scenario =
      compare
          ->add_option("--scenario",
                       compare_line.scenarios,
                       "scenario of side A, then of side B; one alone is taken for both")
          ->expected(1, 2);
  compare->add_option("files", compare_line.files, "two result files: did B get worse?")
      ->expected(2)
      ->check(CLI::ExistingFile)
      ->excludes(scenario);
  compare->add_option("--pairs", compare_line.pairs, "runs of each side (9)")
      ->check(CLI::Range(1U, 1000U));
  compare->add_option("--set-a", compare_line.set_a, "KEY=VALUE: option of side A");
  compare->add_option("--set-b", compare_line.set_b, "KEY=VALUE: option of side B");
  compare->add_option("--godwit-b", compare_line.godwit_b, "another build for side B");
  compare->add_option("--peer",
                      compare_line.peers,
                      "qemu or qemu:MODE: godwit against this peer's modes (precopy, multifd-N, "
                      "postcopy, postcopy-preempt)");
  compare->add_option("--qemu", compare_line.qemu, "QEMU's program")->capture_default_str();
  compare->add_option("--alpha", compare_line.alpha, "chance of a false alarm in a figure (0.01)")
      ->check(CLI::Range(0.000001, 0.5));
  add_common(*compare, common);
  ReportLine report_line;
  const auto* report = add_report(app, report_line);
  try {
    app.parse(argc, argv);
    if (compare->parsed() && compare_line.files.empty() && compare_line.scenarios.empty()) {
      throw CLI::RequiredError("--scenario or two result files");
    }
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kExitOk : kExitUsage;
  }
  const auto interrupt = signals();
  common.interrupt_fd = interrupt.get();
  if (list->parsed()) {
    return list_command(common);
  }
  if (report->parsed()) {
    return report_command(common, report_line);
  }
  if (!compare_line.files.empty()) {
    return compare_files_command(common, compare_line);
  }
  return run->parsed() ? run_command(common, run_line) : compare_command(common, compare_line);
}

}  // namespace
}  // namespace godwit::lab

int main(int argc, char** argv) {
  return godwit::lab::lab_main(argc, argv);
}
