#include "judge/peer_table.h"

#include <array>

#include <fmt/format.h>

#include "ground/figures.h"
#include "ground/stats.h"
#include "ground/table.h"

namespace godwit::lab {

std::string peer_table(const std::vector<Side>& sides, const Measured& measured) {
  constexpr std::array kShown{"total_ns",
                              "downtime_ns",
                              "guest_gap_ns",
                              "largest_stall_ns",
                              "cpu_source_ns",
                              "cpu_target_ns",
                              "wire_bytes"};
  std::vector<std::vector<std::string>> rows{{"", "runs"}};
  rows[0].insert(rows[0].end(), kShown.begin(), kShown.end());
  for (std::size_t i = 0; i < sides.size(); ++i) {
    std::vector<std::string> row{sides[i].label, std::to_string(measured.samples[i].size())};
    for (const auto* name : kShown) {
      const auto ours = values_of(measured.samples[0], name);
      const auto values = values_of(measured.samples[i], name);
      if (values.empty()) {
        row.emplace_back("-");
        continue;
      }
      const auto median = spread_of(values).median;
      auto text = figure_text(find_figure(name)->unit, median);
      if (i > 0 && !ours.empty() && spread_of(ours).median > 0) {
        text += fmt::format(" ({:.2f})", median / spread_of(ours).median);
      }
      row.push_back(std::move(text));
    }
    rows.push_back(std::move(row));
  }
  return fmt::format(
      "\n{}, medians (and what they are of godwit's)\n{}\n", sides[0].point.name(), table(rows));
}

}  // namespace godwit::lab
