#include "page/chart.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include <fmt/format.h>

// A chart is drawn twice: by gnuplot, which sees numbers only, and as the legend and the table of
// the page. Ranges and marks of the axes are chosen here and not by gnuplot, since only this side
// knows the units; and no text of a result file reaches gnuplot's script, where it could be a
// command.

namespace godwit::lab {
namespace {

// Units of the drawing. A phone shows it about as large as it says, a desk 1.5 times as large.
constexpr int kWidth = 480;
constexpr int kHeight = 330;

// Colours by code; svg_for_page() puts the page's in their place.
constexpr int kInk = 250;
constexpr int kGrid = 251;
constexpr int kFirstShade = 100;

std::string colour(int code) {
  return fmt::format("'#0102{:02x}'", code);
}

std::string colour(std::size_t style) {
  return colour(static_cast<int>(colour_of(style)));
}

/// On a page of a gnuplot script: nothing of what a quoted text could hold beside plain words.
std::string quoted(const std::string& text) {
  std::string safe = "'";
  for (const char c : text) {
    const bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                       std::string_view(" .,:;=+-/%()").find(c) != std::string_view::npos;
    safe += plain ? c : '?';
  }
  return safe + "'";
}

bool shown(const Axis& axis, double value) {
  return std::isfinite(value) && (axis.scale != Scale::kLog || value > 0);
}

/// Where a value lies along its axis, as gnuplot is told. On a scale of nines the distance from 1
/// counts.
double along(const Axis& axis, double value) {
  return axis.scale == Scale::kNines ? -std::log10(std::max(1 - value, 1e-12)) : value;
}

using Tics = std::vector<std::pair<double, std::string>>;

Tics steps_between(const Axis& axis, double low, double high, double step) {
  Tics tics;
  for (auto i = std::ceil(low / step - 1e-9); i * step <= high * (1 + 1e-12) + step * 1e-9; ++i) {
    tics.emplace_back(i * step, tic_text(axis, i * step));
  }
  return tics;
}

Tics linear_tics(const Axis& axis, double low, double high) {
  const double base = axis.unit == Unit::kBytes || axis.unit == Unit::kBytesPerS ? 1024 : 1;
  // Round in the unit that the text will have: 256 MiB, not 300 000 000 B.
  double unit = 1;
  while (base > 1 && high / unit >= base) {
    unit *= base;
  }
  auto step = std::pow(10, std::floor(std::log10((high - low) / unit))) * unit;
  for (const auto factor : {0.1, 0.2, 0.5, 1.0, 2.0, 5.0}) {
    auto fine = step * factor;
    if (axis.unit == Unit::kCount) {
      fine = std::max(1.0, fine);  // no half rounds
    }
    if ((high - low) / fine <= 6) {
      return steps_between(axis, low, high, fine);
    }
  }
  return steps_between(axis, low, high, step * 10);
}

Tics log_tics(const Axis& axis, double low, double high) {
  static const std::array<std::vector<double>, 4> kPerDecade{
      {{1}, {1, 3}, {1, 2, 5}, {1, 1.5, 2, 3, 4, 5, 7}}};
  for (const auto& factors : kPerDecade) {
    Tics tics;
    for (auto decade = std::floor(std::log10(low)); std::pow(10, decade) <= high; ++decade) {
      for (const auto factor : factors) {
        const auto value = factor * std::pow(10, decade);
        if (value >= low * 0.999 && value <= high * 1.001) {
          tics.emplace_back(value, tic_text(axis, value));
        }
      }
    }
    if (tics.size() >= 3) {
      return tics;
    }
  }
  return linear_tics(axis, low, high);
}

Tics nine_tics(const Axis& axis, double low, double high) {
  Tics tics;
  for (const auto share : {0.0, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999, 0.999999}) {
    if (share >= low && share <= high) {
      tics.emplace_back(share, tic_text(axis, share));
    }
  }
  return tics;
}

/// The text of a mark, which gnuplot takes for a format.
std::string quoted_tic(const std::string& text) {
  auto format = quoted(text);
  for (auto at = format.find('%'); at != std::string::npos; at = format.find('%', at + 2)) {
    format.insert(at, "%");
  }
  return format;
}

/// One axis of the script: range, scale and marks.
std::string axis_script(const Axis& axis, const char* name, std::pair<double, double> range) {
  auto script = axis.scale == Scale::kLog ? fmt::format("set logscale {}\n", name) : std::string();
  script += fmt::format(
      "set {}range [{:.12g}:{:.12g}]\n", name, along(axis, range.first), along(axis, range.second));
  std::string marks;
  for (const auto& [value, text] :
       axis.tics.empty() ? tics_of(axis, range.first, range.second) : axis.tics) {
    if (shown(axis, value)) {
      marks += fmt::format(
          "{}{} {:.12g}", marks.empty() ? "" : ", ", quoted_tic(text), along(axis, value));
    }
  }
  return script +
         fmt::format(
             "set {}tics scale 0.4 nomirror textcolor rgb {} ({})\n", name, colour(kInk), marks);
}

std::vector<double> values_along(const Chart& chart, bool x) {
  std::vector<double> values;
  for (const auto& series : chart.series) {
    for (const auto& dot : series.dots) {
      const auto value = x ? dot.x : dot.y;
      if (shown(chart.x, dot.x) && shown(chart.y, dot.y)) {
        values.push_back(value);
      }
    }
  }
  return values;
}

std::string block_of(const Chart& chart, const Series& series, std::size_t index) {
  auto block = fmt::format("$d{} << EOD\n", index);
  for (std::size_t i = 0; i < series.dots.size(); ++i) {
    const auto& dot = series.dots[i];
    if (shown(chart.x, dot.x) && shown(chart.y, dot.y)) {
      block += fmt::format("{:.12g} {:.12g}\n", along(chart.x, dot.x), along(chart.y, dot.y));
    }
    // An empty line ends a stroke.
    if (series.mark == Mark::kPairs && i % 2 == 1) {
      block += "\n";
    }
  }
  return block + "EOD\n";
}

std::string style_of(const Series& series) {
  // gnuplot's numbers of the shapes: circle, square, triangle, diamond, triangle on its tip.
  static constexpr std::array<int, kShapes> kFull{7, 5, 9, 13, 11};
  static constexpr std::array<int, kShapes> kHollow{6, 4, 8, 12, 10};
  const auto shape = shape_of(series.style);
  const auto paint = colour(series.style);
  switch (series.mark) {
    case Mark::kDots:
      return fmt::format("points pt {} ps 0.75 lw 1.5 lc rgb {}", kFull[shape], paint);
    case Mark::kHollowDots:
      return fmt::format("points pt {} ps 0.75 lw 1.5 lc rgb {}", kHollow[shape], paint);
    case Mark::kLines:
      return fmt::format("linespoints lw 1.8 pt {} ps 0.7 lc rgb {}", kFull[shape], paint);
    case Mark::kDashedLines:
      return fmt::format(
          "linespoints lw 1.2 dt (6,4) pt {} ps 0.7 lc rgb {}", kHollow[shape], paint);
    case Mark::kSteps:
      return fmt::format(
          "steps lw 1.8 {} lc rgb {}", dash_of(series.style) == 0 ? "" : "dt (6,4)", paint);
    case Mark::kPairs:
      return fmt::format("lines lw 0.7 lc rgb {}", paint);
  }
  return {};
}

/// Reads "rgb(1, 2, N)" at `at`; N and the end, or nothing.
std::optional<std::pair<int, std::size_t>> code_at(const std::string& svg, std::size_t at) {
  std::array<int, 3> parts{};
  auto place = at + 4;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    place = svg.find_first_not_of(' ', place);
    if (place == std::string::npos) {
      return std::nullopt;
    }
    const auto read = std::from_chars(svg.data() + place, svg.data() + svg.size(), parts[i]);
    place = static_cast<std::size_t>(read.ptr - svg.data());
    if (read.ec != std::errc() || place >= svg.size() || svg[place] != (i == 2 ? ')' : ',')) {
      return std::nullopt;
    }
    ++place;
  }
  return parts[0] == 1 && parts[1] == 2 ? std::optional(std::pair(parts[2], place)) : std::nullopt;
}

std::string variable(int code) {
  if (code == kInk || code == kGrid) {
    return code == kInk ? "var(--ink)" : "var(--grid)";
  }
  return code >= kFirstShade ? fmt::format("var(--shade{})", code - kFirstShade)
                             : fmt::format("var(--c{})", code);
}

std::string with_page_colours(const std::string& svg) {
  std::string text;
  std::size_t from = 0;
  for (auto at = svg.find("rgb("); at != std::string::npos; at = svg.find("rgb(", at + 1)) {
    const auto code = code_at(svg, at);
    if (!code) {
      continue;
    }
    text.append(svg, from, at - from);
    text += variable(code->first);
    from = code->second;
  }
  return text.append(svg, from);
}

void replace_all(std::string& text, const std::string& what, const std::string& with) {
  for (auto at = text.find(what); at != std::string::npos; at = text.find(what, at + with.size())) {
    text.replace(at, what.size(), with);
  }
}

void remove_elements(std::string& text, const std::string& name) {
  const auto end = "</" + name + ">";
  for (auto at = text.find("<" + name + ">"); at != std::string::npos;
       at = text.find("<" + name + ">", at)) {
    const auto last = text.find(end, at);
    if (last == std::string::npos) {
      return;
    }
    text.erase(at, last + end.size() - at);
  }
}

}  // namespace

std::string tic_text(const Axis& axis, double value) {
  if (axis.scale == Scale::kNines) {
    return fmt::format("{:.6g} %", value * 100);
  }
  static constexpr std::array kTimes{"ns", "us", "ms", "s"};
  static constexpr std::array kSizes{"B", "KiB", "MiB", "GiB", "TiB"};
  const bool times = axis.unit == Unit::kNs;
  const bool sizes = axis.unit == Unit::kBytes || axis.unit == Unit::kBytesPerS;
  if (value == 0 || (!times && !sizes)) {
    return fmt::format("{:.7g}", value + 0.0);  // a zero has no sign
  }
  const double base = times ? 1000 : 1024;
  const auto last = times ? kTimes.size() - 1 : kSizes.size() - 1;
  std::size_t unit = 0;
  while (std::fabs(value) >= base * 0.9999 && unit < last) {
    value /= base;
    ++unit;
  }
  return fmt::format("{:.3g} {}{}",
                     value,
                     times ? kTimes[unit] : kSizes[unit],
                     axis.unit == Unit::kBytesPerS ? "/s" : "");
}

std::vector<std::pair<double, std::string>> tics_of(const Axis& axis, double low, double high) {
  switch (axis.scale) {
    case Scale::kLinear:
      return linear_tics(axis, low, high);
    case Scale::kLog:
      return log_tics(axis, low, high);
    case Scale::kNines:
      return nine_tics(axis, low, high);
  }
  return {};
}

std::pair<double, double> range_of(const Axis& axis, const std::vector<double>& values) {
  double low = 1;
  double high = 10;
  if (!values.empty()) {
    low = *std::min_element(values.begin(), values.end());
    high = *std::max_element(values.begin(), values.end());
  }
  switch (axis.scale) {
    case Scale::kLog: {
      const auto margin = std::max(1.12, std::pow(high / low, 0.04));
      low /= margin;
      high *= margin;
      break;
    }
    case Scale::kLinear: {
      const auto margin = high > low ? (high - low) * 0.05 : std::max(1.0, std::fabs(high)) * 0.5;
      low -= margin;
      high += margin;
      break;
    }
    case Scale::kNines:
      // Half a nine above the last value.
      low = 0;
      high = 1 - (1 - std::min(high, 1 - 1e-9)) / 3;
      break;
  }
  return {axis.min.value_or(low), axis.max.value_or(high)};
}

std::string script_of(const Chart& chart) {
  auto script = fmt::format(
      "set terminal svg size {},{} dynamic noenhanced font 'sans-serif,13'\n"
      "set encoding utf8\n"
      "unset key\n"
      "set border 3 lw 0.8 lc rgb {}\n"
      "set grid lt 1 lw 0.6 lc rgb {}\n"
      "set rmargin 3\n",
      kWidth,
      kHeight,
      colour(kInk),
      colour(kGrid));
  script += axis_script(chart.x, "x", range_of(chart.x, values_along(chart, true)));
  script += axis_script(chart.y, "y", range_of(chart.y, values_along(chart, false)));
  script += fmt::format("set xlabel {} textcolor rgb {}\n", quoted(chart.x.label), colour(kInk));
  // Above its axis and level, where it costs no width.
  script += fmt::format(
      "set tmargin 2.2\nset label 1 {} at screen 0.01, screen 0.965 left textcolor rgb {}\n",
      quoted(chart.y.label),
      colour(kInk));
  for (std::size_t i = 0; i < chart.bands.size(); ++i) {
    const auto& band = chart.bands[i];
    const auto paint = colour(kFirstShade + static_cast<int>(band.shade % kShades));
    script += fmt::format(
        "set object {} rectangle from first {:.12g}, graph 0 to first {:.12g}, graph 1 behind "
        "fillcolor rgb {} fillstyle solid 0.22 border lc rgb {}\n",
        i + 1,
        band.from,
        band.to,
        paint,
        paint);
  }
  std::string plots;
  for (std::size_t i = 0; i < chart.series.size(); ++i) {
    script += block_of(chart, chart.series[i], i);
    plots += fmt::format(
        "{}$d{} using 1:2 with {}", plots.empty() ? "" : ", ", i, style_of(chart.series[i]));
  }
  return script + "plot " + plots + "\n";
}

std::string svg_for_page(const std::string& svg, const std::string& id) {
  const auto start = svg.find("<svg");
  auto text = with_page_colours(start == std::string::npos ? svg : svg.substr(start));
  remove_elements(text, "title");
  remove_elements(text, "desc");
  for (const auto* quote : {"'", "\""}) {
    replace_all(text, std::string(" id=") + quote, std::string(" id=") + quote + id + "-");
    replace_all(
        text, std::string("href=") + quote + "#", std::string("href=") + quote + "#" + id + "-");
  }
  replace_all(text, "url(#", "url(#" + id + "-");
  return text;
}

}  // namespace godwit::lab
