#include "sources.h"

#include <map>
#include <set>
#include <utility>

#include <fmt/format.h>

namespace godwit::tidy {
namespace {

/// Begins a line of table untested that is about a test without a source of its name.
constexpr const char* kTestAlone = "+";

/// Where sources lie and where their tests do.
const std::vector<std::pair<std::string, std::string>>& mirrors() {
  static const std::vector<std::pair<std::string, std::string>> kMirrors = {
      {"engine/base/src", "tests/unit/base"},
      {"engine/wire/src", "tests/unit/wire"},
      {"engine/core/src", "tests/unit/engine"},
      {"uffd/src", "tests/unit/uffd"},
      {"net/src", "tests/unit/net"},
      {"kvm/src", "tests/unit/kvm"},
      {"kvm/vmm/src", "tests/unit/vmm"},
      {"kvm/json/src", "tests/unit/json"},
      {"kvm/app", "tests/unit/app"},
      {"perf/lab", "tests/unit/lab"},
  };
  return kMirrors;
}

/// The test of a source; empty for what no folder of unit tests mirrors.
std::string test_of(const std::string& source) {
  for (const auto& [sources, tests] : mirrors()) {
    if (lies_in(source, sources)) {
      const auto inside = source.substr(sources.size());
      return tests + inside.substr(0, inside.rfind('.')) + "_test.cc";
    }
  }
  return {};
}

/// Whether there is a source or a header, private or public, that the test is named after.
bool has_subject(const Tree& tree, const std::string& test) {
  constexpr const char* kEnding = "_test.cc";
  for (const auto& [sources, tests] : mirrors()) {
    if (!lies_in(test, tests)) {
      continue;
    }
    auto inside = test.substr(tests.size());
    inside.erase(inside.size() - std::string(kEnding).size());
    if (tree.has(sources + inside + ".cc") || tree.has(sources + inside + ".h")) {
      return true;
    }
    // Public headers have no rooms.
    for (const auto& header : tree.code(folder_of(sources) + "/include")) {
      if (name_of(header) == name_of(inside) + ".h") {
        return true;
      }
    }
  }
  return false;
}

}  // namespace

Problems untested_sources(const Tree& tree) {
  Problems problems;
  std::map<std::string, std::size_t> excused;
  for (const auto& row : tree.table("untested")) {
    if (row.front() == kTestAlone) {
      continue;
    }
    if (row.size() < 3) {
      problems.push_back("untested: " + row.front() + " lacks who covers it, or why");
      continue;
    }
    excused[row.front()] = 0;
    if (!tree.has(row[1])) {
      problems.push_back(fmt::format("untested: there is no {} to cover {}", row[1], row.front()));
    }
  }
  for (const auto& path : tree.code()) {
    if (lies_in(path, "tests") || !ends_with(path, ".cc")) {
      continue;
    }
    if (const auto test = test_of(path); !test.empty() && tree.has(test)) {
      continue;
    }
    bool covered = false;
    for (auto& [place, used] : excused) {
      if (lies_in(path, place)) {
        covered = true;
        ++used;
      }
    }
    if (!covered) {
      problems.push_back(fmt::format("{} has no {} and no line in untested", path, test_of(path)));
    }
  }
  for (const auto& [place, used] : excused) {
    if (used == 0) {
      problems.push_back("untested: " + place + " has its test, or is not there");
    }
  }
  return problems;
}

Problems tests_of_nothing(const Tree& tree) {
  Problems problems;
  std::set<std::string> covering;
  std::set<std::string> alone;
  for (const auto& row : tree.table("untested")) {
    if (row.front() != kTestAlone) {
      covering.insert(row.size() > 1 ? row[1] : "");
    } else if (row.size() < 3) {
      problems.push_back("untested: a test alone lacks its name, or why");
    } else {
      alone.insert(row[1]);
    }
  }
  for (const auto& path : tree.code("tests/unit")) {
    if (ends_with(path, "_test.cc") && !has_subject(tree, path) && covering.count(path) == 0 &&
        alone.erase(path) == 0) {
      problems.push_back(path + " is named after nothing and covers nothing in untested");
    }
  }
  for (const auto& path : alone) {
    problems.push_back("untested: " + path + " has its source, covers one, or is not there");
  }
  return problems;
}

}  // namespace godwit::tidy
