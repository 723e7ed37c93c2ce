#include "rows/sample.h"

namespace godwit::lab {

std::vector<double> values_of(std::span<const Sample> runs, const std::string& figure) {
  std::vector<double> values;
  for (const auto& run : runs) {
    if (const auto found = run.find(figure); found != run.end() && found->is_number()) {
      values.push_back(found->get<double>());
    }
  }
  return values;
}

}  // namespace godwit::lab
