#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <string>

#include <gtest/gtest.h>

#include "command_support.h"

namespace godwit::lab {
namespace {

/// A stand-in for gnuplot is all of PATH.
class ReportCommand : public CommandTest {
 protected:
  void SetUp() override {
    CommandTest::SetUp();
    before_ = std::getenv("PATH");
    std::filesystem::create_directory(at("bin"));
    write_gnuplot("echo '<svg></svg>'");
    ::setenv("PATH", at("bin").c_str(), 1);
    std::ofstream(at("rows"))
        << R"({"schema":"godwit.lab.v1","kind":"run","scenario":"writer","verified":true,)"
        << R"("figures":{"total_ns":5000000,"downtime_ns":1000000}})"
        << "\n";
    line_.files = {at("rows")};
    line_.out = at("page.html");
  }
  void TearDown() override { ::setenv("PATH", before_.c_str(), 1); }
  void write_gnuplot(const std::string& script) const {
    std::ofstream(at("bin/gnuplot")) << "#!/bin/sh\n" << script << "\n";
    ::chmod(at("bin/gnuplot").c_str(), 0700);
  }

  ReportLine line_;
  std::string before_;
};

TEST_F(ReportCommand, MakesAPage) {
  EXPECT_EQ(code_of(line_), kExitOk) << errors_;
  EXPECT_EQ(said_, line_.out + ": 1 runs from rows\n");
  std::ifstream file(line_.out);
  std::ostringstream page;
  page << file.rdbuf();
  EXPECT_EQ(page.str().rfind("<!doctype html>", 0), 0U);
  EXPECT_NE(page.str().find("<style>\n:root{"), std::string::npos) << "the style sheet is in it";
  EXPECT_NE(page.str().find("</html>"), std::string::npos);
}

TEST_F(ReportCommand, APageIsWholeOrThereIsNone) {
  write_gnuplot("echo 'no such terminal' >&2; exit 1");
  EXPECT_EQ(code_of(line_), kExitEnvironment);
  EXPECT_NE(errors_.find("no such terminal"), std::string::npos) << errors_;
  EXPECT_FALSE(std::filesystem::exists(line_.out));
  write_gnuplot("echo '<svg></svg>'");
  line_.out = "/nowhere/page.html";
  EXPECT_EQ(code_of(line_), kExitEnvironment);
}

TEST_F(ReportCommand, WithoutGnuplotItSaysWhatToInstall) {
  std::filesystem::remove(at("bin/gnuplot"));
  EXPECT_EQ(code_of(line_), kExitEnvironment);
  EXPECT_NE(errors_.find("gnuplot-nox"), std::string::npos) << errors_;
}

TEST_F(ReportCommand, AFileThatIsNoneOfOursIsAUsageError) {
  std::ofstream(at("other")) << R"({"schema":"other.v1"})"
                             << "\n";
  line_.files.push_back(at("other"));
  EXPECT_EQ(code_of(line_), kExitUsage);
  EXPECT_NE(errors_.find("other:1:"), std::string::npos) << errors_;
}

}  // namespace
}  // namespace godwit::lab
