#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

// The layers as docs/architecture.md draws them, read from the sources themselves.

namespace godwit {
namespace {

namespace fs = std::filesystem;

const fs::path kRoot = fs::path(GODWIT_ROOT).lexically_normal();

/// A layer of the code: where it lives, and whose public headers it may include.
struct Layer {
  std::string name;  ///< its headers are "godwit/<name>/..."
  std::string directory;
  std::set<std::string> may_include;
};

const std::vector<Layer>& layers() {
  // Longest directory first: kvm/vmm and kvm/app lie inside kvm.
  static const std::vector<Layer> kLayers = {
      {"base", "engine/base", {"base"}},
      {"wire", "engine/wire", {"base", "wire"}},
      {"engine", "engine/core", {"base", "wire", "engine"}},
      {"app", "kvm/app", {"base", "wire", "engine", "uffd", "net", "kvm", "vmm", "json", "app"}},
      {"json", "kvm/json", {"json"}},
      {"guest", "kvm/guest", {"guest", "vmm"}},
      {"vmm", "kvm/vmm", {"base", "wire", "engine", "uffd", "net", "kvm", "vmm", "guest"}},
      {"kvm", "kvm", {"base", "wire", "engine", "kvm"}},
      {"uffd", "uffd", {"base", "wire", "engine", "uffd"}},
      {"net", "net", {"base", "wire", "engine", "net"}},
  };
  return kLayers;
}

bool is_code(const fs::path& path) {
  static const std::set<std::string> kEndings = {".h", ".cc", ".c", ".S"};
  return kEndings.count(path.extension().string()) != 0;
}

std::string from_root(const fs::path& path) {
  return path.lexically_relative(kRoot).generic_string();
}

std::vector<fs::path> code_under(const std::string& directory) {
  std::vector<fs::path> found;
  if (!fs::exists(kRoot / directory)) {
    return found;
  }
  for (const auto& entry : fs::recursive_directory_iterator(kRoot / directory)) {
    if (entry.is_regular_file() && is_code(entry.path())) {
      found.push_back(entry.path());
    }
  }
  std::sort(found.begin(), found.end());
  return found;
}

const Layer* layer_of(const fs::path& path) {
  const auto name = from_root(path);
  for (const auto& layer : layers()) {
    if (name.compare(0, layer.directory.size() + 1, layer.directory + "/") == 0) {
      return &layer;
    }
  }
  return nullptr;
}

std::vector<std::string> lines_of(const fs::path& path) {
  std::ifstream file(path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) {
    lines.push_back(line);
  }
  return lines;
}

/// What a file includes, without the quotes or brackets.
std::vector<std::string> includes_of(const fs::path& path) {
  static const std::regex kInclude(R"(^\s*#\s*include\s*[<"]([^>"]+)[>"])");
  std::vector<std::string> found;
  for (const auto& line : lines_of(path)) {
    std::smatch match;
    if (std::regex_search(line, match, kInclude)) {
      found.push_back(match[1]);
    }
  }
  return found;
}

TEST(IncludeGraph, ArrowsPointOnlyToLowerLayers) {
  static const std::regex kOurs("^godwit/([a-z]+)/");
  std::size_t seen = 0;
  for (const auto* top : {"engine", "uffd", "net", "kvm"}) {
    for (const auto& path : code_under(top)) {
      const auto* layer = layer_of(path);
      ASSERT_NE(layer, nullptr) << from_root(path) << " belongs to no layer";
      for (const auto& include : includes_of(path)) {
        std::smatch match;
        if (std::regex_search(include, match, kOurs)) {
          ++seen;
          EXPECT_EQ(layer->may_include.count(match[1]), 1U)
              << from_root(path) << " includes " << include << ", which layer " << layer->name
              << " must not know";
        }
      }
    }
  }
  EXPECT_GT(seen, 50U) << "the sources were not found";
}

TEST(IncludeGraph, EachKernelInterfaceHasOneHome) {
  const std::map<std::string, std::string> homes = {{"linux/kvm.h", "kvm"},
                                                    {"linux/userfaultfd.h", "uffd"},
                                                    {"liburing.h", "net"},
                                                    {"linux/io_uring.h", "net"}};
  for (const auto* top : {"engine", "uffd", "net", "kvm"}) {
    for (const auto& path : code_under(top)) {
      for (const auto& include : includes_of(path)) {
        if (const auto home = homes.find(include); home != homes.end()) {
          EXPECT_EQ(home->second, top) << from_root(path) << " includes <" << include << ">";
        }
      }
    }
  }
}

TEST(IncludeGraph, PrivateHeadersOfAnotherLayerAreNotReached) {
  for (const auto* top : {"engine", "uffd", "net", "kvm"}) {
    for (const auto& path : code_under(top)) {
      for (const auto& include : includes_of(path)) {
        EXPECT_EQ(include.find("../"), std::string::npos)
            << from_root(path) << " includes " << include;
      }
    }
  }
}

TEST(Layout, TopLevelIsFixed) {
  const std::set<std::string> allowed = {"CMakeLists.txt",
                                         "CMakePresets.json",
                                         "LICENSE",
                                         "README.md",
                                         "build",  // never committed
                                         "docs",
                                         "engine",
                                         "kvm",
                                         "net",
                                         "perf",
                                         "tests",
                                         "uffd"};
  const std::set<std::string> required = {
      "CMakeLists.txt", "engine", "kvm", "uffd", "net", "tests", "docs"};
  std::set<std::string> present;
  for (const auto& entry : fs::directory_iterator(kRoot)) {
    const auto name = entry.path().filename().string();
    if (name.front() != '.') {
      present.insert(name);
      EXPECT_EQ(allowed.count(name), 1U) << name << " does not belong at the top level";
    }
  }
  for (const auto& name : required) {
    EXPECT_EQ(present.count(name), 1U) << name << " is missing";
  }
}

TEST(Headers, EveryPublicHeaderIsDocumentedAndGuarded) {
  for (const auto* top : {"engine", "uffd", "net", "kvm"}) {
    for (const auto& path : code_under(top)) {
      if (from_root(path).find("/include/godwit/") == std::string::npos) {
        continue;
      }
      bool documented = false;
      bool guarded = false;
      for (const auto& line : lines_of(path)) {
        documented = documented || line.find("///") != std::string::npos;
        guarded = guarded || line == "#pragma once";
      }
      EXPECT_TRUE(documented) << from_root(path) << " has no docstring";
      EXPECT_TRUE(guarded) << from_root(path) << " lacks #pragma once";
    }
  }
}

}  // namespace
}  // namespace godwit
