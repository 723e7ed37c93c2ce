#pragma once

#include <string>

#include "report/report.h"

namespace godwit::app {

/// The report for people, several lines.
std::string report_text(const Report& report);

}  // namespace godwit::app
