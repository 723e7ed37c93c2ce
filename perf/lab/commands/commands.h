#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace godwit::lab {

// Exit codes of godwit-lab.
inline constexpr int kExitOk = 0;      ///< every run verified, every limit met
inline constexpr int kExitFailed = 1;  ///< a run was not verified, or a limit was missed
inline constexpr int kExitUsage = 2;
inline constexpr int kExitEnvironment = 3;
inline constexpr int kExitInterrupted = 130;

/// What every command needs.
struct Common {
  std::filesystem::path scenarios;  ///< directory
  std::string godwit;               ///< path of the command that is measured
  std::string out;                  ///< file for rows; empty = none
  bool json = false;                ///< rows on stdout, no table
  int interrupt_fd = -1;
};

struct RunLine {
  std::string name;   ///< a scenario or a set
  unsigned runs = 0;  ///< 0 = as the scenario says
  std::string qemu = "qemu-system-x86_64";
};

struct CompareLine {
  std::vector<std::string> files;      ///< two result files to compare, or none
  std::vector<std::string> scenarios;  ///< one (for both sides) or two
  std::vector<std::string> set_a;      ///< KEY=VALUE for side A
  std::vector<std::string> set_b;
  std::string godwit_b;            ///< another build for side B; empty = the same
  std::vector<std::string> peers;  ///< "qemu" or "qemu:MODE": side B are these
  std::string qemu = "qemu-system-x86_64";
  unsigned pairs = 9;
  double alpha = 0.01;
};

struct ReportLine {
  std::vector<std::string> files;  ///< results, at least one
  std::string out;                 ///< the page
};

/// Shows scenarios and sets. Returns the exit code.
int list_command(const Common& common);
/// Measures a scenario or a set and checks the limits. Returns the exit code.
int run_command(const Common& common, const RunLine& line);
/// Measures two sides in turns and says which figures differ. Returns the exit code.
int compare_command(const Common& common, const CompareLine& line);
/// Compares two result files; kExitFailed when a watched figure got worse. Returns the exit code.
int compare_files_command(const Common& common, const CompareLine& line);
/// Makes an HTML page from result files. Returns the exit code.
int report_command(const Common& common, const ReportLine& line);

}  // namespace godwit::lab
