#include "layout.h"

#include <algorithm>
#include <map>
#include <set>

#include <fmt/format.h>

namespace godwit::tidy {
namespace {

constexpr const char* kCMake = "CMakeLists.txt";

/// The words of a CMakeLists.txt, without comments, quotes, parentheses and a folder in a variable.
std::set<std::string> cmake_words(const Tree& tree, const std::string& path) {
  std::set<std::string> words;
  for (const auto& line : tree.lines(path)) {
    std::string word;
    for (const char c : line.substr(0, line.find('#')) + " ") {
      if (std::string(" \t()\"").find(c) == std::string::npos) {
        word += c;
      } else if (!word.empty()) {
        words.insert(word.rfind("${", 0) == 0 ? word.substr(word.find('/') + 1) : word);
        word.clear();
      }
    }
  }
  return words;
}

/// `path` as a CMakeLists.txt in `folder` names it.
std::string seen_from(const std::string& path, const std::string& folder) {
  return folder.empty() ? path : path.substr(folder.size() + 1);
}

/// Whether the innermost CMakeLists.txt above `path` names it.
bool named_above(const Tree& tree, const std::string& path) {
  auto folder = folder_of(path);
  while (!folder.empty() && !tree.has(folder + "/" + kCMake)) {
    folder = folder_of(folder);
  }
  const auto list = folder.empty() ? kCMake : folder + "/" + kCMake;
  return cmake_words(tree, list).count(seen_from(path, folder)) != 0;
}

}  // namespace

Problems wrong_top_level(const Tree& tree) {
  static const std::set<std::string> kNeeded = {
      "CMakeLists.txt", "docs", "engine", "kvm", "net", "tests", "uffd"};
  static const std::set<std::string> kAllowed = {
      "CMakePresets.json", "LICENSE", "README.md", "build", "perf"};  // build: never committed
  Problems problems;
  const auto present = tree.entries("");
  for (const auto& name : present) {
    if (name.front() != '.' && kNeeded.count(name) == 0 && kAllowed.count(name) == 0) {
      problems.push_back(name + " does not belong at the top level");
    }
  }
  for (const auto& name : kNeeded) {
    if (std::find(present.begin(), present.end(), name) == present.end()) {
      problems.push_back(name + " is missing");
    }
  }
  return problems;
}

Problems too_large(const Tree& tree) {
  Problems problems;
  std::map<std::string, std::size_t> excused;
  for (const auto& row : tree.table("large")) {
    excused[row.front()] = 0;
    if (row.size() < 2) {
      problems.push_back("large: " + row.front() + " has no reason");
    }
  }
  const auto note =
      [&](const std::string& path, std::size_t size, std::size_t most, const char* of) {
        if (size <= most) {
          return;
        }
        if (const auto excuse = excused.find(path); excuse != excused.end()) {
          ++excuse->second;
        } else {
          problems.push_back(fmt::format("{} has {} {}, more than {}", path, size, of, most));
        }
      };
  std::map<std::string, std::size_t> folders;
  for (const auto* top : {"engine", "uffd", "net", "kvm", "perf", "tests"}) {
    for (const auto& path : tree.files(top)) {
      ++folders[folder_of(path)];
    }
  }
  for (const auto& [folder, files] : folders) {
    note(folder, files, kFilesMax, "files");
  }
  for (const auto& path : tree.code()) {
    note(path, tree.lines(path).size(), kLinesMax, "lines");
  }
  for (const auto& [path, used] : excused) {
    if (used == 0) {
      problems.push_back("large: " + path + " is not");
    }
  }
  return problems;
}

Problems not_built(const Tree& tree) {
  Problems problems;
  for (const auto& path : tree.code()) {
    if (!ends_with(path, ".h") && !named_above(tree, path)) {
      problems.push_back(path + " is in no CMakeLists.txt");
    }
  }
  for (const auto* top : {"engine", "uffd", "net", "kvm", "perf", "tests"}) {
    for (const auto& path : tree.files(top)) {
      if (name_of(path) == kCMake && !named_above(tree, folder_of(path))) {
        problems.push_back(folder_of(path) + " is added by no CMakeLists.txt");
      }
    }
  }
  return problems;
}

Problems bare_headers(const Tree& tree) {
  Problems problems;
  for (const auto& path : tree.code()) {
    if (path.find("/include/godwit/") == std::string::npos) {
      continue;
    }
    const auto lines = tree.lines(path);
    if (std::none_of(lines.begin(), lines.end(), [](const std::string& line) {
          return line.find("///") != std::string::npos;
        })) {
      problems.push_back(path + " has no docstring");
    }
    if (std::find(lines.begin(), lines.end(), "#pragma once") == lines.end()) {
      problems.push_back(path + " lacks #pragma once");
    }
  }
  return problems;
}

}  // namespace godwit::tidy
