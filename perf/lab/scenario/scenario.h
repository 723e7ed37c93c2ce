#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "godwit/base/result.h"
#include "godwit/json/json.h"

namespace godwit::lab {

/// What a figure of a scenario must keep. Exactly one bound is set.
struct Limit {
  std::string figure;                   ///< a name from figures.h
  std::optional<double> at_least;       ///< of the median
  std::optional<double> at_most;        ///< of the median
  std::optional<double> ratio_at_most;  ///< of the median over that of `Scenario::against`
};

/// One point to measure: a scenario with one value for each option.
struct Point {
  std::string scenario;
  Json options;         ///< option of `godwit demo`, without dashes -> value
  Json swept;           ///< those options that the scenario sweeps over; empty object = none
  Json link = nullptr;  ///< what link_spec.h reads, one value for each member; null = loopback
  Json load = nullptr;  ///< what load_spec.h reads, the same; null = an idle host
  std::string user{};   ///< who runs godwit; empty = who runs the lab
  /// "standard vcpus=2": the scenario and what is swept.
  [[nodiscard]] std::string name() const;
  /// The options as arguments of `godwit demo`.
  [[nodiscard]] std::vector<std::string> arguments() const;
};

/// A file of perf/scenarios: see perf/README.md.
struct Scenario {
  std::string name;
  std::string description;
  Json options;         ///< a list as a value is a sweep
  Json link = nullptr;  ///< the same; null = loopback
  Json load = nullptr;  ///< the same; null = an idle host
  Json user = nullptr;  ///< a name or a list of them; null = who runs the lab
  unsigned runs = 5;    ///< of each point, unless --runs says otherwise
  std::string against;  ///< scenario whose runs are interleaved with these; empty = none
  std::vector<Limit> limits;
  std::vector<std::string> peers;  ///< "qemu" or "qemu:MODE", whose runs are interleaved with these

  /// Every combination of swept values, the last option changing fastest.
  [[nodiscard]] std::vector<Point> points() const;
};

/// Checks and reads a scenario. Errors: kInvalidArgument, which names `origin` and the member.
Result<Scenario> parse_scenario(const Json& json, const std::string& origin);

/// Where scenarios come from: the files of a directory and of the folders in it, which have each
/// name once.
class Library {
 public:
  explicit Library(std::filesystem::path directory) : directory_(std::move(directory)) {}
  /// One scenario: by the name of its file in the directory, or by a path that ends in ".json".
  [[nodiscard]] Result<Scenario> scenario(const std::string& name) const;
  /// The scenarios of a set, or the one scenario of that name.
  [[nodiscard]] Result<std::vector<Scenario>> scenarios(const std::string& name) const;
  /// "name  description" of everything in the directory, sorted.
  [[nodiscard]] Result<std::vector<std::string>> list() const;

 private:
  [[nodiscard]] Result<std::vector<std::filesystem::path>> files() const;
  [[nodiscard]] Result<Json> load(const std::string& name, std::string& path) const;
  std::filesystem::path directory_;
};

/// Sets, from each "key=value", "link.MEMBER" of the scenario's link, "load.MEMBER" of its load, its
/// "user", or else an option. Errors: kInvalidArgument.
Status set_members(Scenario& scenario, const std::vector<std::string>& texts);

/// Sets one option from "key=value" (a size, a number, a word, true or false). Errors:
/// kInvalidArgument.
Status set_option(Json& options, const std::string& text);

}  // namespace godwit::lab
