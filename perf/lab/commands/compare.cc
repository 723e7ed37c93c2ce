#include <array>

#include <fmt/format.h>

#include "commands/commands.h"
#include "judge/comparison.h"
#include "judge/peer_table.h"
#include "qemu/peers.h"
#include "run/runner.h"
#include "run/surroundings.h"

namespace godwit::lab {
namespace {

/// What both sides get, then what one gets.
std::vector<std::string> joined(std::vector<std::string> changes,
                                const std::vector<std::string>& more) {
  changes.insert(changes.end(), more.begin(), more.end());
  return changes;
}

Result<Side> side_of(const Library& library,
                     const std::string& name,
                     const std::vector<std::string>& changes,
                     const char* label,
                     const std::string& godwit) {
  GODWIT_TRY_ASSIGN(auto scenario, library.scenario(name));
  GODWIT_TRY(set_members(scenario, changes));
  auto points = scenario.points();
  if (points.size() != 1) {
    return fail(ErrorCode::kInvalidArgument,
                "compare",
                fmt::format("'{}' is a sweep; a side is one point", name));
  }
  GODWIT_TRY_ASSIGN(const auto reason, why_impossible(points.front(), godwit));
  if (!reason.empty()) {
    return fail(ErrorCode::kUnsupported, "compare", reason);
  }
  return Side{label, std::move(points.front()), godwit};
}

/// godwit against each mode of the peers.
Result<int> compare_with_peers(const Common& common, const CompareLine& line, Side godwit) {
  if (line.scenarios.size() > 1 || !line.set_b.empty() || !line.godwit_b.empty()) {
    return fail(ErrorCode::kInvalidArgument,
                "compare",
                "with --peer side B is the peer: one --scenario, no --set-b, no --godwit-b");
  }
  GODWIT_TRY_ASSIGN(const auto modes, parse_peers(line.peers));
  GODWIT_TRY_ASSIGN(auto results, Results::open(common.out, common.json));
  godwit.label = "godwit";
  share_congestion(godwit.point);
  const auto point = godwit.point;
  std::vector<Side> sides{std::move(godwit)};
  const auto found = find_peers(modes, line.qemus, common.interrupt_fd, results);
  if (!found && found.error().code == ErrorCode::kCancelled) {
    return kExitInterrupted;
  }
  GODWIT_TRY(found);
  GODWIT_TRY_ASSIGN(auto theirs, peer_sides(*found, point, results));
  for (auto& side : theirs) {
    sides.push_back(std::move(side));
  }
  RunnerOptions options;
  options.rounds = line.pairs;
  options.interrupt_fd = common.interrupt_fd;
  options.set = "compare";
  GODWIT_TRY_ASSIGN(const auto measured, measure(sides, options, results));
  if (!results.to_stdout()) {
    fmt::print("{}", peer_table(sides, measured));
  }
  for (std::size_t i = 1; i < sides.size(); ++i) {
    if (measured.samples[0].empty() || measured.samples[i].empty()) {
      continue;  // nothing to compare
    }
    GODWIT_TRY(write_comparison({sides.data(), measured.samples[0]},
                                {&sides[i], measured.samples[i]},
                                line.alpha,
                                results));
  }
  if (measured.interrupted) {
    return kExitInterrupted;
  }
  return measured.failed == 0 ? kExitOk : kExitFailed;
}

Result<int> compare(const Common& common, const CompareLine& line) {
  const Library library(common.scenarios);
  const auto& second = line.godwit_b.empty() ? common.godwit : line.godwit_b;
  GODWIT_TRY_ASSIGN(
      auto a,
      side_of(library, line.scenarios.front(), joined(line.set, line.set_a), "a", common.godwit));
  if (!line.peers.empty()) {
    return compare_with_peers(common, line, std::move(a));
  }
  GODWIT_TRY_ASSIGN(
      auto b, side_of(library, line.scenarios.back(), joined(line.set, line.set_b), "b", second));
  const std::array<Side, 2> sides{std::move(a), std::move(b)};
  GODWIT_TRY_ASSIGN(auto results, Results::open(common.out, common.json));
  RunnerOptions options;
  options.rounds = line.pairs;
  options.interrupt_fd = common.interrupt_fd;
  options.set = "compare";
  GODWIT_TRY_ASSIGN(const auto measured, measure({sides[0], sides[1]}, options, results));
  GODWIT_TRY(write_comparison(
      {&sides[0], measured.samples[0]}, {&sides[1], measured.samples[1]}, line.alpha, results));
  if (measured.interrupted) {
    return kExitInterrupted;
  }
  return measured.failed == 0 ? kExitOk : kExitFailed;
}

}  // namespace

int perform(const Common& common, const CompareLine& line) {
  const auto code = line.files.empty() ? compare(common, line) : compare_files(common, line);
  return code ? *code : complain(code.error());
}

}  // namespace godwit::lab
