#include "run/runner.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "godwit/base/fd.h"

namespace godwit::lab {
namespace {

/// A stand-in for godwit: a script that prints what a test wants.
class Script {
 public:
  explicit Script(const std::string& body) {
    static int made = 0;
    path_ = std::filesystem::temp_directory_path() /
            ("godwit-lab-test-" + std::to_string(::getpid()) + "-" + std::to_string(++made));
    std::ofstream(path_) << "#!/bin/sh\n" << body << "\n";
    ::chmod(path_.c_str(), 0700);
  }
  ~Script() { std::filesystem::remove(path_); }
  [[nodiscard]] std::string path() const { return path_.string(); }

 private:
  std::filesystem::path path_;
};

constexpr const char* kGood = R"(echo '{"outcome": "completed", "total_ns": 5,
  "pages": {"sent_twice_after_switch": 0},
  "verified": {"pages_expected": 1, "pages_checked": 1, "mismatches": 0, "guest_errors": 0}}')";

/// Kills the busy loops of the lab that started it.
constexpr const char* kEndLoops = R"sh(for one in /proc/[0-9]*/stat; do
  read -r pid name state parent rest <$one || continue
  [ "$parent" != $PPID ] || [ "$name" != "(godwit-load)" ] || kill -9 $pid
done 2>/dev/null
sleep 0.1
)sh";

Result<Measured> measure_script(const Script& script, RunnerOptions options) {
  auto results = Results::open("", false);
  const std::vector<Side> sides{{"a", {"x", Json::object(), Json::object()}, script.path()},
                                {"b", {"x", Json::object(), Json::object()}, script.path()}};
  return measure(sides, options, *results);
}

TEST(Turns, GoForwardsAndBackwards) {
  EXPECT_EQ(turns(2, 3), (std::vector<std::size_t>{0, 1, 1, 0, 0, 1}));
  EXPECT_EQ(turns(3, 2), (std::vector<std::size_t>{0, 1, 2, 2, 1, 0}));
}

TEST(Runner, KeepsTheFiguresOfVerifiedRuns) {
  const Script script(kGood);
  RunnerOptions options;
  options.rounds = 2;
  const auto measured = measure_script(script, options);
  ASSERT_TRUE(measured);
  EXPECT_EQ(measured->failed, 0U);
  ASSERT_EQ(measured->samples[0].size(), 2U);
  EXPECT_DOUBLE_EQ(measured->samples[1][1].at("total_ns").get<double>(), 5);
}

TEST(Runner, ARunThatFailsLeavesNoSample) {
  for (const auto* body : {"exit 4", "echo '{}'", "echo nonsense"}) {
    const Script script(body);
    RunnerOptions options;
    options.rounds = 1;
    const auto measured = measure_script(script, options);
    ASSERT_TRUE(measured) << body;
    EXPECT_EQ(measured->failed, 2U) << body;
    EXPECT_TRUE(measured->samples[0].empty()) << body;
  }
}

TEST(Runner, ARunWhoseLoadEndedBeforeItIsNotVerified) {
  const Script good(kGood);
  const Script spoiler(fmt::format("{}{}", kEndLoops, kGood));
  RunnerOptions options;
  options.rounds = 1;
  for (const auto* script : {&good, &spoiler}) {
    auto results = Results::open("", false);
    Side side{"a", {"x", Json::object(), Json::object()}, script->path()};
    side.point.load = {{"busy", 2}};
    const auto measured = measure({side}, options, *results);
    ASSERT_TRUE(measured) << measured.error().message();
    EXPECT_EQ(measured->failed, script == &good ? 0U : 1U);
  }
}

TEST(Runner, AnInterruptStopsTheSeries) {
  const Script script("sleep 30");
  const auto interrupt = EventFd::create();
  ASSERT_TRUE(interrupt);
  interrupt->signal();
  RunnerOptions options;
  options.interrupt_fd = interrupt->fd();
  const auto measured = measure_script(script, options);
  ASSERT_TRUE(measured);
  EXPECT_TRUE(measured->interrupted);
  EXPECT_TRUE(measured->samples[0].empty());
}

TEST(Runner, ACommandThatIsNotThereIsAnError) {
  auto results = Results::open("", false);
  const std::vector<Side> sides{{"a", {"x", Json::object(), Json::object()}, "/nowhere/godwit"}};
  EXPECT_FALSE(measure(sides, {}, *results));
}

}  // namespace
}  // namespace godwit::lab
