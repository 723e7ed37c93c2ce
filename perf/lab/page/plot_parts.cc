#include "page/plot_parts.h"

#include "ground/stats.h"

namespace godwit::lab {

Axis time_axis(const std::string& label) {
  return {label, Unit::kNs, Scale::kLog};
}

std::string time_text(double ns) {
  return figure_text(Unit::kNs, ns);
}

double median(const RunGroup& group, const std::string& figure) {
  const auto values = values_of(group.samples(), figure);
  return values.empty() ? 0 : spread_of(values).median;
}

std::string joined(const std::vector<std::string>& parts) {
  std::string text;
  for (const auto& part : parts) {
    text += (text.empty() ? "" : "; ") + part;
  }
  return text;
}

Series& series_in(Chart& chart, const std::string& name, std::size_t style, Mark mark) {
  for (auto& series : chart.series) {
    if (series.name == name && series.mark == mark) {
      return series;
    }
  }
  chart.series.push_back({name, style, mark});
  return chart.series.back();
}

}  // namespace godwit::lab
