#pragma once

#include <initializer_list>
#include <string>
#include <utility>

#include "support/temporary_directory.h"
#include "tree.h"

namespace godwit::tidy {

/// A tree of the files that a test names, with one mistake or none.
class MadeUpTree {
 public:
  MadeUpTree(std::initializer_list<std::pair<const char*, std::string>> files) {
    for (const auto& [name, text] : files) {
      directory_.write(name, text);
    }
  }
  void write(const std::string& name, const std::string& text) const {
    directory_.write(name, text);
  }
  [[nodiscard]] Tree tree() const { return Tree(directory_.path()); }

 private:
  test::TemporaryDirectory directory_;
};

}  // namespace godwit::tidy
