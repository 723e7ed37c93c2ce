#pragma once

#include <string>
#include <vector>

#include "page/chart.h"
#include "rows/run_groups.h"

namespace godwit::lab {

// What the plots of a report have in common.

/// Logarithmic, in ns.
Axis time_axis(const std::string& label);
/// "1.25 ms".
std::string time_text(double ns);
/// Of the verified runs that have the figure; 0 when none has.
double median(const RunGroup& group, const std::string& figure);
/// "a; b; c", for a text alternative.
std::string joined(const std::vector<std::string>& parts);
/// The series of that name and mark, made when there is none.
Series& series_in(Chart& chart, const std::string& name, std::size_t style, Mark mark);

}  // namespace godwit::lab
