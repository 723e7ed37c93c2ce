#pragma once

#include <filesystem>
#include <string>
#include <vector>

// What the checks of this folder look at: the project's own tree, or one that a test made up.

namespace godwit::tidy {

/// What is wrong, a line each; empty if nothing is.
using Problems = std::vector<std::string>;

struct Include {
  std::string name;     ///< without its quotes or brackets
  bool quoted = false;  ///< else <in brackets>
};

/// Paths are relative to the root, with '/' between.
class Tree {
 public:
  explicit Tree(std::filesystem::path root) : root_(std::move(root)) {}

  [[nodiscard]] bool has(const std::string& path) const;
  [[nodiscard]] std::vector<std::string> lines(const std::string& path) const;
  /// All files below a folder, sorted.
  [[nodiscard]] std::vector<std::string> files(const std::string& folder) const;
  /// Those of them that are C++, C or assembly.
  [[nodiscard]] std::vector<std::string> code(const std::string& folder) const;
  /// The same of every folder that has code of ours.
  [[nodiscard]] std::vector<std::string> code() const;
  [[nodiscard]] std::vector<Include> includes(const std::string& path) const;
  /// The words of each line of tests/tidy/`name`, without comments.
  [[nodiscard]] std::vector<std::vector<std::string>> table(const std::string& name) const;
  /// The entries of a folder, sorted.
  [[nodiscard]] std::vector<std::string> entries(const std::string& folder) const;

 private:
  std::filesystem::path root_;
};

/// Whether `path` is `folder` or lies below it.
bool lies_in(const std::string& path, const std::string& folder);
/// "a/b" of "a/b/c.h".
std::string folder_of(const std::string& path);
/// "c.h" of "a/b/c.h".
std::string name_of(const std::string& path);
bool ends_with(const std::string& text, const std::string& ending);

/// This project.
const Tree& project();

}  // namespace godwit::tidy
