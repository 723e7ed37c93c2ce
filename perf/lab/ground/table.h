#pragma once

#include <string>
#include <vector>

namespace godwit::lab {

/// Text in columns as wide as their widest cell; the first is left-aligned, the others
/// right-aligned.
std::string table(const std::vector<std::vector<std::string>>& rows);

}  // namespace godwit::lab
