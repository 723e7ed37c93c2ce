#include "tree.h"

#include <algorithm>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>

namespace godwit::tidy {

namespace fs = std::filesystem;

bool Tree::has(const std::string& path) const {
  return fs::exists(root_ / path);
}

std::vector<std::string> Tree::lines(const std::string& path) const {
  std::ifstream file(root_ / path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) {
    lines.push_back(line);
  }
  return lines;
}

std::vector<std::string> Tree::files(const std::string& folder) const {
  std::vector<std::string> found;
  if (!has(folder)) {
    return found;
  }
  for (const auto& entry : fs::recursive_directory_iterator(root_ / folder)) {
    if (entry.is_regular_file()) {
      found.push_back(entry.path().lexically_relative(root_).generic_string());
    }
  }
  std::sort(found.begin(), found.end());
  return found;
}

std::vector<std::string> Tree::code(const std::string& folder) const {
  static const std::set<std::string> kEndings = {".h", ".cc", ".c", ".S"};
  auto found = files(folder);
  found.erase(std::remove_if(found.begin(),
                             found.end(),
                             [](const std::string& path) {
                               return kEndings.count(fs::path(path).extension().string()) == 0;
                             }),
              found.end());
  return found;
}

std::vector<std::string> Tree::code() const {
  std::vector<std::string> all;
  for (const auto* folder : {"engine", "uffd", "net", "kvm", "perf", "tests"}) {
    const auto found = code(folder);
    all.insert(all.end(), found.begin(), found.end());
  }
  return all;
}

std::vector<Include> Tree::includes(const std::string& path) const {
  static const std::regex kInclude(R"(^\s*#\s*include\s*([<"])([^>"]+)[>"])");
  std::vector<Include> found;
  for (const auto& line : lines(path)) {
    std::smatch match;
    if (std::regex_search(line, match, kInclude)) {
      found.push_back({match[2], match[1] == "\""});
    }
  }
  return found;
}

std::vector<std::vector<std::string>> Tree::table(const std::string& name) const {
  std::vector<std::vector<std::string>> rows;
  for (const auto& line : lines("tests/tidy/" + name)) {
    std::istringstream words(line.substr(0, line.find('#')));
    std::vector<std::string> row;
    for (std::string word; words >> word;) {
      row.push_back(word);
    }
    if (!row.empty()) {
      rows.push_back(std::move(row));
    }
  }
  return rows;
}

std::vector<std::string> Tree::entries(const std::string& folder) const {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(root_ / folder)) {
    names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

bool lies_in(const std::string& path, const std::string& folder) {
  return path == folder || path.rfind(folder + "/", 0) == 0;
}

std::string folder_of(const std::string& path) {
  return fs::path(path).parent_path().generic_string();
}

std::string name_of(const std::string& path) {
  return fs::path(path).filename().string();
}

bool ends_with(const std::string& text, const std::string& ending) {
  return text.size() >= ending.size() &&
         text.compare(text.size() - ending.size(), ending.size(), ending) == 0;
}

const Tree& project() {
  static const Tree kProject(fs::path(GODWIT_ROOT).lexically_normal());
  return kProject;
}

}  // namespace godwit::tidy
