#include "page/html.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

// Symbols of style.S.
extern "C" const char godwit_lab_style_begin[];  // NOLINT(readability-identifier-naming)
extern "C" const char godwit_lab_style_end[];    // NOLINT(readability-identifier-naming)

namespace godwit::lab {
namespace {

/// Rows of a table of values; more would make the page heavy and be read by nobody.
constexpr std::size_t kValueRowsMax = 400;

std::string_view style() {
  return {godwit_lab_style_begin,
          static_cast<std::size_t>(godwit_lab_style_end - godwit_lab_style_begin)};
}

/// The shape of a mark as gnuplot draws it, around the origin.
std::string shape_path(std::size_t style) {
  static constexpr std::array<const char*, kShapes> kPaths{
      "M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0z",
      "M-3.6,-3.6h7.2v7.2h-7.2z",
      "M0,-5L-5,3H5z",
      "M0,-5L5,0L0,5L-5,0z",
      "M0,5L-5,-3H5z",
  };
  return kPaths[shape_of(style)];
}

std::string key_of(const Series& series) {
  const auto paint = fmt::format("var(--c{})", colour_of(series.style));
  const bool hollow = series.mark == Mark::kHollowDots || series.mark == Mark::kDashedLines;
  const bool line = series.mark != Mark::kDots && series.mark != Mark::kHollowDots;
  std::string drawn;
  const bool dashed = hollow || (series.mark == Mark::kSteps && dash_of(series.style) != 0);
  if (line) {
    drawn += fmt::format("<path d=\"M-11,0H11\" stroke=\"{}\" stroke-width=\"2\"{}/>",
                         paint,
                         dashed ? " stroke-dasharray=\"4 3\"" : "");
  }
  if (series.mark != Mark::kSteps) {
    drawn += fmt::format("<path d=\"{}\" fill=\"{}\" stroke=\"{}\" stroke-width=\"1.5\"/>",
                         shape_path(series.style),
                         hollow ? "var(--card)" : paint,
                         paint);
  }
  return fmt::format("<svg viewBox=\"-12 -7 24 14\" aria-hidden=\"true\">{}</svg>", drawn);
}

std::string legend_of(const Chart& chart) {
  std::string items;
  for (const auto& series : chart.series) {
    if (series.mark != Mark::kPairs && series.in_legend) {
      items += fmt::format("<li>{}{}</li>", key_of(series), escape(series.name));
    }
  }
  for (const auto& band : chart.bands) {
    items += fmt::format(
        "<li><svg viewBox=\"-12 -7 24 14\" aria-hidden=\"true\"><path d=\"M-9,-6H9V6H-9z\" "
        "fill=\"var(--shade{0})\" fill-opacity=\".3\" stroke=\"var(--shade{0})\"/></svg>{1}</li>",
        band.shade % kShades,
        escape(band.name));
  }
  return "<ul class=\"legend\">" + items + "</ul>\n";
}

std::string value_text(const Axis& axis, double value) {
  if (axis.scale == Scale::kNines) {
    return tic_text(axis, value);
  }
  for (const auto& [at, text] : axis.tics) {
    if (at == value) {
      return text;
    }
  }
  return axis.unit == Unit::kCount ? fmt::format("{:.7g}", value) : figure_text(axis.unit, value);
}

std::string values_of(const Chart& chart) {
  std::size_t count = 0;
  for (const auto& series : chart.series) {
    count += series.mark != Mark::kPairs ? series.dots.size() : 0;
  }
  const auto step = count / kValueRowsMax + 1;
  HtmlTable table{"Values of: " + chart.title, {"series", chart.x.label, chart.y.label}, {}};
  for (const auto& series : chart.series) {
    for (std::size_t i = 0; series.mark != Mark::kPairs && i < series.dots.size(); i += step) {
      table.rows.push_back({{series.name},
                            {value_text(chart.x, series.dots[i].x)},
                            {value_text(chart.y, series.dots[i].y)}});
    }
  }
  return fmt::format(
      "<details><summary>{}</summary>{}</details>\n",
      step == 1 ? std::string("Values") : fmt::format("Values (one in {} of {})", step, count),
      html_of(table));
}

}  // namespace

std::string escape(std::string_view text) {
  std::string safe;
  safe.reserve(text.size());
  for (const char c : text) {
    switch (c) {
      case '&':
        safe += "&amp;";
        break;
      case '<':
        safe += "&lt;";
        break;
      case '>':
        safe += "&gt;";
        break;
      case '"':
        safe += "&quot;";
        break;
      case '\'':
        safe += "&#39;";
        break;
      default:
        // U+FFFD for what HTML has no place for.
        safe += static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t'
                    ? std::string("\xef\xbf\xbd")
                    : std::string(1, c);
    }
  }
  return safe;
}

std::string html_of(const HtmlTable& table) {
  auto text = fmt::format(
      "<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"{}\"><table><thead><tr>",
      escape(table.name));
  for (const auto& head : table.head) {
    text += fmt::format("<th scope=\"col\">{}</th>", escape(head));
  }
  text += "</tr></thead><tbody>\n";
  for (const auto& row : table.rows) {
    text += "<tr>";
    for (std::size_t i = 0; i < row.size(); ++i) {
      const auto inner =
          escape(row[i].text) +
          (row[i].small.empty() ? "" : "<small>" + escape(row[i].small) + "</small>");
      text += i == 0 ? "<th scope=\"row\">" + inner + "</th>" : "<td>" + inner + "</td>";
    }
    text += "</tr>\n";
  }
  return text + "</tbody></table></div>\n";
}

std::string figure_of(const Chart& chart, const std::string& svg) {
  // The role is on the drawing alone: inside of an image a reader would not find caption and table.
  return fmt::format(
      "<div class=\"plot\" id=\"{0}\"><figure><h3>{1}</h3>\n"
      "<div role=\"img\" aria-label=\"{2}\">{3}</div>\n{4}<figcaption>{5}</figcaption></figure>\n"
      "{6}</div>\n",
      escape(chart.id),
      escape(chart.title),
      escape(chart.alt),
      svg,
      legend_of(chart),
      escape(chart.caption),
      values_of(chart));
}

std::string document_of(const std::string& title, const std::string& body) {
  return fmt::format(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
      "'unsafe-inline'; img-src data:\">\n"
      "<link rel=\"icon\" href=\"data:,\">\n"
      "<title>{}</title>\n<style>\n{}</style></head>\n<body>\n{}</body></html>\n",
      escape(title),
      style(),
      body);
}

}  // namespace godwit::lab
