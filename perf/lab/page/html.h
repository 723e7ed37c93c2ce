#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "page/chart.h"

namespace godwit::lab {

/// Text as it may stand anywhere in HTML, in an attribute too. Control characters are shown as
/// such.
std::string escape(std::string_view text);

/// A cell of a table; everything is escaped.
struct Cell {
  std::string text;
  std::string small = {};  ///< below it, in small print
};

struct HtmlTable {
  std::string name;  ///< for those who hear the page
  std::vector<std::string> head;
  std::vector<std::vector<Cell>> rows;
};

/// The table in a box that scrolls sideways by itself, so that the page never has to.
std::string html_of(const HtmlTable& table);

/// A plot with its legend, caption, text alternative and the table of the values in it. `svg` is
/// trusted: it comes from svg_for_page().
std::string figure_of(const Chart& chart, const std::string& svg);

/// A whole document around `body`: style, view port, and a policy that forbids scripts and whatever
/// is not in the file. `title` is escaped, `body` is not.
std::string document_of(const std::string& title, const std::string& body);

}  // namespace godwit::lab
