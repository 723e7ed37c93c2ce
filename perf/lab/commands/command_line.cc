#include "commands/command_line.h"

#include <utility>

#include <CLI/CLI.hpp>

namespace godwit::lab {
namespace {

void add_common(CLI::App& app, Common& common) {
  app.add_option("--scenarios", common.scenarios, "directory of scenario files")
      ->capture_default_str();
  app.add_option("--godwit", common.godwit, "command to measure")->capture_default_str();
  app.add_option("--out", common.out, "file for the rows, JSON lines");
  app.add_flag("--json", common.json, "rows on stdout instead of tables");
}

constexpr const char* kMembers = "; also link.MEMBER, load.MEMBER, user";

void add_set(CLI::App& app, std::vector<std::string>& set, const std::string& of) {
  app.add_option("--set", set, "KEY=VALUE: option of " + of + kMembers)->allow_extra_args(false);
}

/// One a `--qemu`, so that no name of a scenario is taken for another one.
void add_qemus(CLI::App& app, std::vector<std::string>& qemus) {
  app.add_option(
         "--qemu",
         qemus,
         "QEMU's program, may be given several times (else what perf/qemu has unpacked, and "
         "the system's)")
      ->allow_extra_args(false);
}

void add_list(CLI::App& app, Common& common) {
  app.add_subcommand("list", "shows scenarios and sets")
      ->add_option("--scenarios", common.scenarios, "directory of scenario files");
}

CLI::App* add_run(CLI::App& app, Common& common, RunLine& line) {
  auto* run = app.add_subcommand("run", "measures a scenario or a set and checks its limits");
  run->add_option("name", line.name, "scenario or set")->required();
  run->add_option("--runs", line.runs, "runs of each point (as the scenario says)")
      ->check(CLI::Range(1U, 1000U));
  add_set(*run, line.set, "every scenario");
  add_qemus(*run, line.qemus);
  add_common(*run, common);
  return run;
}

CLI::App* add_compare(CLI::App& app, Common& common, CompareLine& line) {
  auto* compare = app.add_subcommand(
      "compare", "measures two sides in turns, or reads two result files: are they different?");
  auto* scenario =
      compare
          ->add_option("--scenario",
                       line.scenarios,
                       "scenario of side A, then of side B; one alone is taken for both")
          ->expected(1, 2);
  compare->add_option("files", line.files, "two result files: did B get worse?")
      ->expected(2)
      ->check(CLI::ExistingFile)
      ->excludes(scenario);
  compare->add_option("--pairs", line.pairs, "runs of each side (9)")->check(CLI::Range(1U, 1000U));
  add_set(*compare, line.set, "both sides");
  compare->add_option("--set-a", line.set_a, "KEY=VALUE: option of side A");
  compare->add_option("--set-b", line.set_b, "KEY=VALUE: option of side B");
  compare->add_option("--godwit-b", line.godwit_b, "another build for side B");
  compare->add_option("--peer",
                      line.peers,
                      "qemu or qemu:MODE: godwit against this peer's modes (precopy, multifd-N, "
                      "postcopy, postcopy-preempt, multifd-N-postcopy)");
  add_qemus(*compare, line.qemus);
  compare->add_option("--alpha", line.alpha, "chance of a false alarm in a figure (0.01)")
      ->check(CLI::Range(0.000001, 0.5));
  add_common(*compare, common);
  return compare;
}

CLI::App* add_report(CLI::App& app, ReportLine& line) {
  auto* report = app.add_subcommand("report", "one HTML page from result files");
  report->add_option("files", line.files, "results, as --out writes them")
      ->required()
      ->check(CLI::ExistingFile);
  report->add_option("--out", line.out, "the page")->required();
  return report;
}

}  // namespace

tl::expected<CommandLine, int> parse_command_line(int argc,
                                                  const char* const* argv,
                                                  const Common& defaults) {
  CommandLine line{defaults, ListLine{}};
  RunLine run_line;
  CompareLine compare_line;
  ReportLine report_line;
  CLI::App app("godwit-lab: measures migrations on this machine");
  app.require_subcommand(1);
  add_list(app, line.common);
  const auto* run = add_run(app, line.common, run_line);
  const auto* compare = add_compare(app, line.common, compare_line);
  const auto* report = add_report(app, report_line);
  try {
    app.parse(argc, argv);
    if (compare->parsed() && compare_line.files.empty() && compare_line.scenarios.empty()) {
      throw CLI::RequiredError("--scenario or two result files");
    }
  } catch (const CLI::ParseError& error) {
    return tl::unexpected(app.exit(error) == 0 ? kExitOk : kExitUsage);
  }
  if (run->parsed()) {
    line.command = std::move(run_line);
  } else if (compare->parsed()) {
    line.command = std::move(compare_line);
  } else if (report->parsed()) {
    line.command = std::move(report_line);
  }
  return line;
}

}  // namespace godwit::lab
