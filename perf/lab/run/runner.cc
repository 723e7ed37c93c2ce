#include "run/runner.h"

#include <unistd.h>

#include <algorithm>

#include <fmt/format.h>

#include "ground/child.h"
#include "ground/figures.h"
#include "ground/host.h"
#include "run/surroundings.h"

namespace godwit::lab {
namespace {

/// The last line that says something, for a run that went wrong.
std::string last_line(const std::string& text) {
  const auto end = text.find_last_not_of("\r\n ");
  if (end == std::string::npos) {
    return {};
  }
  const auto start = text.find_last_of("\r\n", end);
  return text.substr(start == std::string::npos ? 0 : start + 1, end + 1 - (start + 1));
}

Json row_of(const Side& side,
            const RunnerOptions& options,
            std::uint64_t round,
            const std::vector<std::string>& words) {
  Json row;
  row["set"] = options.set;
  row["scenario"] = side.point.scenario;
  row["side"] = side.label;
  row["swept"] = side.point.swept;
  row["peer"] = nullptr;
  row["round"] = round;
  row["at_unix_s"] = realtime_ns() / 1'000'000'000;
  row["command"] = words;
  row["commit"] = build_commit();
  row["host"] = host_fingerprint();
  return row;
}

class Runner {
 public:
  Runner(const std::vector<Side>& sides, const RunnerOptions& options, Results& results)
      : sides_(sides), options_(options), results_(results) {
    measured_.samples.resize(sides.size());
  }

  Result<Measured> run() {
    if (const auto host = host_fingerprint(); !options_.was_loaded && host_is_busy(host)) {
      fmt::print(stderr,
                 "warning: load {} on {} cores before the first run: something else runs here, and "
                 "times will say little\n",
                 text_at(host, "/load_1min"),
                 number_at(host, "/cores"));
    }
    const auto order = turns(sides_.size(), options_.rounds);
    for (std::size_t turn = 0; turn < order.size() && !measured_.interrupted; ++turn) {
      GODWIT_TRY(run_one(order[turn], turn / sides_.size() + 1));
    }
    return std::move(measured_);
  }

 private:
  Status run_one(std::size_t index, std::uint64_t round) {
    const auto& side = sides_[index];
    if (side.peer) {
      return run_peer(index, round);
    }
    GODWIT_TRY_ASSIGN(const auto around,
                      Surroundings::make(side.point, round, 2 * options_.run_timeout_ns));
    ProcessSpec spec;
    spec.words = {side.godwit, "demo", "--json", "--warm"};
    const auto more = side.point.arguments();
    spec.words.insert(spec.words.end(), more.begin(), more.end());
    if (around.link() != nullptr) {
      const auto ends = around.link()->demo_arguments();
      spec.words.insert(spec.words.end(), ends.begin(), ends.end());
    }
    spec.cgroup_fd = around.cgroup_fd();
    spec.user = around.user();
    auto row = row_of(side, options_, round, spec.words);
    around.describe(row);
    GODWIT_TRY_ASSIGN(
        const auto ran,
        run_child(spec, options_.interrupt_fd, Deadline::after_ns(options_.run_timeout_ns)));
    if (ran.interrupted) {
      measured_.interrupted = true;
      return {};
    }
    auto report = parse_json(ran.out);
    if (report.is_discarded()) {
      report = nullptr;
    }
    auto reason = ran.timed_out ? "took too long" : unverified_reason(ran.exit_code, report);
    if (!reason.empty() && !report.is_object()) {
      reason += ": " + last_line(ran.errors);
    }
    if (reason.empty()) {
      reason = around.broken_reason();
    }
    const auto figures = report.is_object() ? figures_of(report) : Json::object();
    around.account(row);
    row["exit_code"] = ran.exit_code;
    row["verified"] = reason.empty();
    row["reason"] = reason;
    row["figures"] = figures;
    row["report"] = report;
    return keep(index, round, row, reason, figures);
  }

  Status run_peer(std::size_t index, std::uint64_t round) {
    const auto& side = sides_[index];
    GODWIT_TRY_ASSIGN(const auto around,
                      Surroundings::make(side.point, round, 2 * options_.run_timeout_ns));
    auto row = row_of(side, options_, round, {});
    around.describe(row);
    const auto ran = side.peer->run({around.link(), around.cgroup_fd(), options_.interrupt_fd});
    if (ran.interrupted) {
      measured_.interrupted = true;
      return {};
    }
    const auto reason = ran.reason.empty() ? around.broken_reason() : ran.reason;
    around.account(row);
    row["command"] = ran.command;
    row["peer"] = ran.peer;
    row["exit_code"] = nullptr;
    row["verified"] = reason.empty();
    row["reason"] = reason;
    row["figures"] = ran.figures;
    row["report"] = ran.report;
    return keep(index, round, row, reason, ran.figures);
  }

  Status keep(std::size_t index,
              std::uint64_t round,
              const Json& row,
              const std::string& reason,
              const Json& figures) {
    GODWIT_TRY(results_.write("run", row));
    tell(sides_[index], round, reason, figures);
    if (reason.empty()) {
      measured_.samples[index].push_back(figures);
    } else {
      ++measured_.failed;
    }
    return {};
  }

  void tell(const Side& side,
            std::uint64_t round,
            const std::string& reason,
            const Json& figures) const {
    const auto of = [&](const char* name, Unit unit) {
      return figure_text(unit, number_at(figures, (std::string("/") + name).c_str()));
    };
    fmt::print(stderr,
               "{:>3}/{} {:<28} {}\n",
               round,
               options_.rounds,
               side.label == side.point.scenario ? side.point.name()
                                                 : side.label + ": " + side.point.name(),
               !reason.empty() ? "NOT VERIFIED: " + reason
                               : fmt::format("total {}, downtime {}, guest gap {}",
                                             of("total_ns", Unit::kNs),
                                             of("downtime_ns", Unit::kNs),
                                             of("guest_gap_ns", Unit::kNs)));
  }

  const std::vector<Side>& sides_;
  const RunnerOptions& options_;
  Results& results_;
  Measured measured_;
};

}  // namespace

std::vector<std::size_t> turns(std::size_t sides, unsigned rounds) {
  std::vector<std::size_t> order;
  for (unsigned round = 0; round < rounds; ++round) {
    for (std::size_t i = 0; i < sides; ++i) {
      order.push_back(round % 2 == 0 ? i : sides - 1 - i);
    }
  }
  return order;
}

Result<Measured> measure(const std::vector<Side>& sides,
                         const RunnerOptions& options,
                         Results& results) {
  return Runner(sides, options, results).run();
}

}  // namespace godwit::lab
