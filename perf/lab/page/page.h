#pragma once

#include <functional>
#include <string>

#include "godwit/base/result.h"

#include "page/chart.h"
#include "rows/results_file.h"

namespace godwit::lab {

/// Draws a chart: gnuplot's SVG of its script.
using Draw = std::function<Result<std::string>(const std::string& script)>;

/// The report: one HTML document with everything in it. `title` names where the rows come from.
/// Errors: what `draw` fails with.
Result<std::string> report_page(const std::string& title, const ResultRows& rows, const Draw& draw);

}  // namespace godwit::lab
