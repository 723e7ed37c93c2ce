#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "ground/figures.h"

namespace godwit::lab {

enum class Scale : std::uint8_t {
  kLinear = 1,
  kLog,
  kNines,  ///< shares of 1: 0.9, 0.99 and 0.999 lie equally far apart
};

struct Axis {
  std::string label;
  Unit unit = Unit::kCount;
  Scale scale = Scale::kLinear;
  /// Marked values with their text; empty: chosen by tics_of().
  std::vector<std::pair<double, std::string>> tics = {};
  std::optional<double> min = std::nullopt;  ///< as the data says
  std::optional<double> max = std::nullopt;
};

enum class Mark : std::uint8_t {
  kDots = 1,
  kHollowDots,
  kLines,        ///< with dots
  kDashedLines,  ///< with hollow dots
  kSteps,        ///< a value holds until the next
  kPairs,  ///< a thin line between the first and the second point, the third and the fourth...
};

struct Dot {
  double x = 0;
  double y = 0;
};

struct Series {
  std::string name;
  std::size_t style = 0;  ///< colour and shape
  Mark mark = Mark::kDots;
  std::vector<Dot> dots = {};
  bool in_legend = true;  ///< what a pair of series shares stands there once
};

/// A stretch of the x axis that is shaded from top to bottom.
struct Band {
  std::string name;
  std::size_t shade = 0;  ///< which of the page's kShades
  double from = 0;
  double to = 0;
};

/// A plot and what is said of it. Names come from outside; gnuplot sees none of them, only numbers:
/// the page makes the legend.
struct Chart {
  std::string id;       ///< unique in the page: letters, digits, dashes
  std::string title;    ///< of the figure
  std::string alt;      ///< what it shows, in words: for those who do not see it
  std::string caption;  ///< how to read it
  Axis x;
  Axis y;
  std::vector<Series> series = {};
  std::vector<Band> bands = {};
};

/// Colours and shapes; beyond their number they repeat in other combinations.
inline constexpr std::size_t kColours = 8;
inline constexpr std::size_t kShapes = 5;
inline constexpr std::size_t kShades = 4;
inline constexpr std::size_t colour_of(std::size_t style) {
  return style % kColours;
}
inline constexpr std::size_t shape_of(std::size_t style) {
  return (style + style / kColours) % kShapes;
}
/// Steps have no shape: those whose colours repeat are dashed.
inline constexpr std::size_t dash_of(std::size_t style) {
  return style / kColours % 2;
}

/// What is marked on an axis that reaches from `low` to `high`: three to nine round values with
/// their units.
/// Requires: low < high; 0 < low on a log scale.
std::vector<std::pair<double, std::string>> tics_of(const Axis& axis, double low, double high);

/// "1 ms", "1.5 GiB/s", "99.9 %" on a scale of nines.
std::string tic_text(const Axis& axis, double value);

/// From where to where an axis reaches that shows all of `values`, with a margin.
std::pair<double, double> range_of(const Axis& axis, const std::vector<double>& values);

/// The gnuplot script that prints the chart as SVG. Colours are codes that svg_for_page() resolves.
/// Requires: a dot in some series. Values that a log scale cannot show are left out.
std::string script_of(const Chart& chart);

/// Makes gnuplot's SVG a part of an HTML page: no prologue, ids that begin with `id`, colours that
/// the page's style sheet decides.
std::string svg_for_page(const std::string& svg, const std::string& id);

}  // namespace godwit::lab
