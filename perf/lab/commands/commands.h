#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "godwit/base/result.h"

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

struct ListLine {};

struct RunLine {
  std::string name;                ///< a scenario or a set
  unsigned runs = 0;               ///< 0 = as the scenario says
  std::vector<std::string> set;    ///< KEY=VALUE for every scenario
  std::vector<std::string> qemus;  ///< programs; empty = those that are found
};

struct CompareLine {
  std::vector<std::string> files;      ///< two result files to compare, or none
  std::vector<std::string> scenarios;  ///< one (for both sides) or two
  std::vector<std::string> set;        ///< KEY=VALUE for both sides
  std::vector<std::string> set_a;      ///< KEY=VALUE for side A
  std::vector<std::string> set_b;
  std::string godwit_b;            ///< another build for side B; empty = the same
  std::vector<std::string> peers;  ///< "qemu" or "qemu:MODE": side B are these
  std::vector<std::string> qemus;  ///< programs; empty = those that are found
  unsigned pairs = 9;
  double alpha = 0.01;
};

struct ReportLine {
  std::vector<std::string> files;  ///< results, at least one
  std::string out;                 ///< the page
};

// Each performs one command and returns the exit code.

/// Shows scenarios and sets.
int perform(const Common& common, const ListLine& line);
/// Measures a scenario or a set and checks the limits.
int perform(const Common& common, const RunLine& line);
/// Measures two sides in turns and says which figures differ. With two result files it compares
/// these, see compare_files().
int perform(const Common& common, const CompareLine& line);
/// Makes an HTML page from result files.
int perform(const Common& common, const ReportLine& line);

/// Compares the two result files of `line`. Returns kExitFailed when a watched figure got worse,
/// else kExitOk. Errors: kInvalidArgument (no such file, nothing in common), kIo.
Result<int> compare_files(const Common& common, const CompareLine& line);

/// Says on stderr what went wrong and returns the exit code for it.
int complain(const Error& error);

}  // namespace godwit::lab
