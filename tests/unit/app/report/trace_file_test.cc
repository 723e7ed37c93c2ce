#include "report/trace_file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace godwit::app {
namespace {

namespace fs = std::filesystem;

class TraceFile : public testing::Test {
 protected:
  void SetUp() override { fs::create_directories(directory_); }
  void TearDown() override { fs::remove_all(directory_); }

  [[nodiscard]] std::string at(const char* name) const { return (directory_ / name).string(); }
  [[nodiscard]] std::ptrdiff_t files() const {
    return std::distance(fs::directory_iterator(directory_), {});
  }

  const fs::path directory_ =
      fs::temp_directory_path() / fmt::format("godwit-trace-file-{}", ::getpid());
};

TEST_F(TraceFile, CheckingLeavesNothingBehind) {
  EXPECT_TRUE(check_trace_path(at("new")));
  EXPECT_EQ(files(), 0);
}

TEST_F(TraceFile, CheckingKeepsWhatIsThere) {
  std::ofstream(at("old")) << "old";
  EXPECT_TRUE(check_trace_path(at("old")));
  EXPECT_EQ(fs::file_size(at("old")), 3U);
}

TEST_F(TraceFile, CheckingRefusesWhatCannotBecomeAFile) {
  EXPECT_FALSE(check_trace_path(at("no/such/directory")));
  EXPECT_FALSE(check_trace_path(directory_.string())) << "a directory";
  EXPECT_FALSE(check_trace_path("/dev/null")) << "a device must not be replaced";
  EXPECT_EQ(files(), 0);
}

TEST_F(TraceFile, IsReadAsItWasWritten) {
  Json trace;
  trace["traceEvents"] = Json::array();
  std::ofstream(at("trace")) << "older and longer than what follows it, by far";
  ASSERT_TRUE(write_trace(at("trace"), trace));
  const auto read = read_trace(at("trace"));
  ASSERT_TRUE(read) << read.error().message();
  EXPECT_EQ(*read, trace);
  EXPECT_EQ(files(), 1) << "nothing is left beside it";
}

TEST_F(TraceFile, ReadingRefusesWhatIsNoTimeline) {
  EXPECT_FALSE(read_trace(at("missing")));
  std::ofstream(at("cut")) << R"({"traceEvents": [)";
  EXPECT_FALSE(read_trace(at("cut")));
}

TEST_F(TraceFile, AFailureToWriteIsNoSuccess) {
  EXPECT_EQ(keep_trace(at("trace"), Json::object(), 0), 0);
  EXPECT_EQ(keep_trace(at("no/such/directory"), Json::object(), 0), 3);
  EXPECT_EQ(keep_trace(at("no/such/directory"), Json::object(), 1), 1) << "what was worse stays";
}

}  // namespace
}  // namespace godwit::app
