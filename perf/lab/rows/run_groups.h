#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "ground/figures.h"
#include "rows/results_file.h"
#include "rows/sample.h"

namespace godwit::lab {

/// Runs that measured the same: one scenario, one point of its sweep, one side, one peer, one
/// commit.
struct RunGroup {
  std::string scenario;
  std::string series;                 ///< see series_of()
  std::string detail;                 ///< see detail_of(); may be empty
  std::vector<const RunRow*> runs;    ///< verified
  std::vector<const RunRow*> failed;  ///< not verified
  [[nodiscard]] const RunRow& any() const { return runs.empty() ? *failed.front() : *runs.front(); }
  /// Series and detail.
  [[nodiscard]] std::string label() const;
  /// The figures of the verified runs.
  [[nodiscard]] std::vector<Sample> samples() const;
  /// The run whose total is the median one. Requires: a verified run.
  [[nodiscard]] const RunRow& typical() const;
};

/// Which migration this is, in a word or two, whatever the scenario: "godwit hybrid", "qemu
/// 7.2.22 postcopy".
std::string series_of(const RunRow& run);

/// What makes runs of two files (of two builds) the same measurement: everything of the group but
/// the commit.
std::string point_key(const RunRow& run);

/// The host of a run without its load, which changes from run to run.
Json machine_of(const RunRow& run);

/// "rate=64MiB vcpus=2", "link 1 Gbit/s, 100 us", "2 busy loops": what is swept beside the mode, the
/// link, the load and the user.
std::string detail_of(const RunRow& run);

/// Groups in the order of their first row. With runs of both sides of a comparison, the series name
/// the side ("b: godwit hybrid"); with runs of several commits, the commit.
/// The groups point into `runs`.
std::vector<RunGroup> groups_of(std::span<const RunRow> runs);

/// The options of `godwit demo` that a run was made with (from its command line; no value: "true"),
/// and what was swept.
std::map<std::string, std::string> options_of(const RunRow& run);

/// "64MiB", "4096": bytes. Nothing for any other text.
std::optional<double> bytes_of(const std::string& text);

}  // namespace godwit::lab
