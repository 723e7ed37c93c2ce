#pragma once

#include <cstddef>

#include "tree.h"

// Where files lie, how large they are, and that the build knows them.

namespace godwit::tidy {

inline constexpr std::size_t kFilesMax = 25;
inline constexpr std::size_t kLinesMax = 600;

/// Entries of the root that are not planned, or are missing.
Problems wrong_top_level(const Tree& tree);
/// Folders with too many files and files with too many lines, but for those of table large, and
/// lines of that table that are needless.
Problems too_large(const Tree& tree);
/// Sources that no CMakeLists.txt names, and folders with a CMakeLists.txt that none adds: they
/// would be left out without a word.
Problems not_built(const Tree& tree);
/// Public headers without a docstring or a guard.
Problems bare_headers(const Tree& tree);

}  // namespace godwit::tidy
