#pragma once

#include <string>
#include <vector>

namespace godwit::test {

/// A directory of a test's own, which everybody may use: some of the processes under test run as
/// somebody else. Ownership: removed with all in it.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  ~TemporaryDirectory();

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::string at(const std::string& name) const { return path_ + "/" + name; }
  /// What lies in it, sorted.
  [[nodiscard]] std::vector<std::string> names() const;
  /// Makes the folders that `name` asks for.
  void write(const std::string& name, const std::string& text) const;

 private:
  std::string path_;
};

/// All that is in a file; empty if it cannot be read.
std::string file_text(const std::string& path);

}  // namespace godwit::test
