#include "judge/peer_table.h"

#include <fmt/format.h>

#include "ground/figures.h"
#include "ground/stats.h"
#include "ground/table.h"

namespace godwit::lab {

std::string peer_table(const std::vector<Side>& sides, const Measured& measured) {
  std::vector<std::vector<std::string>> rows{{""}, {"runs"}};
  for (std::size_t i = 0; i < sides.size(); ++i) {
    rows[0].push_back(sides[i].label);
    rows[1].push_back(std::to_string(measured.samples[i].size()));
  }
  for (const auto* name : {"total_ns",
                           "downtime_ns",
                           "guest_gap_ns",
                           "largest_stall_ns",
                           "cpu_source_ns",
                           "cpu_target_ns",
                           "wire_bytes"}) {
    std::vector<std::string> row{name};
    const auto ours = values_of(measured.samples[0], name);
    for (std::size_t i = 0; i < sides.size(); ++i) {
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
