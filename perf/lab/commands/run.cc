#include <algorithm>

#include <fmt/format.h>

#include "commands/commands.h"
#include "ground/figures.h"
#include "ground/stats.h"
#include "ground/table.h"
#include "judge/difference.h"
#include "qemu/peers.h"
#include "run/runner.h"
#include "run/surroundings.h"
#include "run/verdict.h"

namespace godwit::lab {
namespace {

/// Runs scenario after scenario; within one, its points and those it is measured against take
/// turns.
class RunSet {
 public:
  RunSet(const Common& common, const RunLine& line, Results& results)
      : common_(common), line_(line), results_(results), library_(common.scenarios) {}

  Status run() {
    GODWIT_TRY_ASSIGN(auto scenarios, library_.scenarios(line_.name));
    for (auto& scenario : scenarios) {
      GODWIT_TRY(set_members(scenario, line_.set));
    }
    for (const auto& scenario : scenarios) {
      GODWIT_TRY(run_scenario(scenario));
      if (interrupted_) {
        break;
      }
    }
    return {};
  }
  [[nodiscard]] int exit_code() const {
    if (interrupted_) {
      return kExitInterrupted;
    }
    if (measured_ == 0) {
      return kExitEnvironment;  // everything was left out, and why has been told
    }
    return failed_ == 0 && missed_ == 0 ? kExitOk : kExitFailed;
  }

 private:
  Status run_scenario(const Scenario& scenario) {
    std::vector<Side> sides;
    for (auto& point : scenario.points()) {
      sides.push_back({scenario.name, std::move(point), common_.godwit});
    }
    const auto own = sides.size();
    if (!scenario.against.empty()) {
      GODWIT_TRY_ASSIGN(const auto other, library_.scenario(scenario.against));
      const auto points = other.points();
      if (points.size() != 1 && points.size() != own) {
        return fail(ErrorCode::kInvalidArgument,
                    "scenario",
                    fmt::format("{}: '{}' has {} points, which are not to be paired with {}",
                                scenario.name,
                                other.name,
                                points.size(),
                                own));
      }
      for (const auto& point : points) {
        sides.push_back({other.name, point, common_.godwit});
      }
    }
    GODWIT_TRY_ASSIGN(const bool possible, is_possible(scenario, sides));
    if (!possible) {
      return {};
    }
    ++measured_;
    const auto judged = sides.size();
    if (auto added = add_peers(scenario, own, sides); !added) {
      interrupted_ = added.error().code == ErrorCode::kCancelled;
      return interrupted_ ? Status() : added;
    }
    RunnerOptions options;
    options.rounds = line_.runs != 0 ? line_.runs : scenario.runs;
    options.interrupt_fd = common_.interrupt_fd;
    options.set = line_.name;
    options.was_loaded = was_loaded_;
    GODWIT_TRY_ASSIGN(const auto measured, measure(sides, options, results_));
    was_loaded_ = std::any_of(
        sides.begin(), sides.end(), [](const Side& side) { return !side.point.load.is_null(); });
    failed_ += measured.failed;
    interrupted_ = measured.interrupted;
    GODWIT_TRY(summarize(sides, measured));
    if (!interrupted_) {
      GODWIT_TRY(check_limits(scenario, sides, measured, own, judged));
    }
    return {};
  }

  /// The peers' sides of each own point, behind all others.
  Status add_peers(const Scenario& scenario, std::size_t own, std::vector<Side>& sides) {
    if (scenario.peers.empty()) {
      return {};
    }
    GODWIT_TRY_ASSIGN(const auto modes, parse_peers(scenario.peers));
    GODWIT_TRY_ASSIGN(const auto peers,
                      find_peers(modes, line_.qemus, common_.interrupt_fd, results_));
    for (std::size_t i = 0; i < own; ++i) {
      share_congestion(sides[i].point);
      GODWIT_TRY_ASSIGN(auto more, peer_sides(peers, sides[i].point, results_));
      for (auto& side : more) {
        sides.push_back(std::move(side));
      }
    }
    return {};
  }

  /// Whether links, loads and users of all sides can be had here; if not the scenario is left out,
  /// said so.
  Result<bool> is_possible(const Scenario& scenario, const std::vector<Side>& sides) {
    for (const auto& side : sides) {
      GODWIT_TRY_ASSIGN(const auto reason, why_impossible(side.point, side.godwit));
      if (!reason.empty()) {
        fmt::print(stderr, "left out: {}: {}\n", side.point.name(), reason);
        GODWIT_TRY(results_.write(
            "left_out", {{"set", line_.name}, {"scenario", scenario.name}, {"reason", reason}}));
        return false;
      }
    }
    return true;
  }

  Status summarize(const std::vector<Side>& sides, const Measured& measured) {
    for (std::size_t i = 0; i < sides.size(); ++i) {
      const auto& samples = measured.samples[i];
      Json row;
      row["scenario"] = sides[i].point.scenario;
      row["swept"] = sides[i].point.swept;
      row["peer"] = sides[i].peer ? Json(sides[i].peer->name()) : Json();
      row["runs"] = samples.size();
      auto figures_json = Json::object();
      std::vector<std::vector<std::string>> rows{{"", "median", "min", "max"}};
      for (const auto& figure : figures()) {
        const auto values = values_of(samples, figure.name);
        if (values.empty()) {
          continue;
        }
        const auto spread = spread_of(values);
        figures_json[figure.name] = spread_json(spread);
        rows.push_back({figure.name,
                        figure_text(figure.unit, spread.median),
                        figure_text(figure.unit, spread.min),
                        figure_text(figure.unit, spread.max)});
      }
      row["figures"] = std::move(figures_json);
      GODWIT_TRY(results_.write("summary", row));
      if (!results_.to_stdout()) {
        fmt::print("\n{}{}, {} runs\n{}",
                   sides[i].peer ? sides[i].peer->name() + ": " : "",
                   sides[i].point.name(),
                   samples.size(),
                   table(rows));
      }
    }
    return {};
  }

  Status check_limits(const Scenario& scenario,
                      const std::vector<Side>& sides,
                      const Measured& measured,
                      std::size_t own,
                      std::size_t judged) {
    for (const auto& limit : scenario.limits) {
      for (std::size_t i = 0; i < own; ++i) {
        std::span<const Sample> against;
        if (judged > own) {
          against = measured.samples[std::min(own + i, judged - 1)];
        }
        const auto verdict = judge(limit, measured.samples[i], against);
        missed_ += verdict.met ? 0 : 1;
        Json row;
        row["scenario"] = scenario.name;
        row["swept"] = sides[i].point.swept;
        row["figure"] = limit.figure;
        row["value"] = verdict.value;
        row["text"] = verdict.text;
        row["met"] = verdict.met;
        GODWIT_TRY(results_.write("limit", row));
        fmt::print(results_.to_stdout() ? stderr : stdout,
                   "{} {}: {}\n",
                   verdict.met ? "PASS" : "FAIL",
                   sides[i].point.name(),
                   verdict.text);
      }
    }
    return {};
  }

  const Common& common_;
  const RunLine& line_;
  Results& results_;
  Library library_;
  std::uint64_t measured_ = 0;  ///< scenarios
  std::uint64_t failed_ = 0;
  std::uint64_t missed_ = 0;
  bool interrupted_ = false;
  bool was_loaded_ = false;  ///< in the scenario before
};

}  // namespace

int perform(const Common& common, const RunLine& line) {
  auto results = Results::open(common.out, common.json);
  if (!results) {
    return complain(results.error());
  }
  RunSet set(common, line, *results);
  if (auto done = set.run(); !done) {
    return complain(done.error());
  }
  return set.exit_code();
}

}  // namespace godwit::lab
