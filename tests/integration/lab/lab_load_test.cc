// A host that the lab makes busy on purpose, and runs as another user: what rows tell of it, and
// what is left when the lab is killed.

#include <pwd.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/command/command.h"
#include "support/temporary_directory.h"

namespace godwit::test {
namespace {

namespace fs = std::filesystem;

constexpr int kSeconds = 60;

/// A directory with one scenario of a small process guest.
class Scenario {
 public:
  explicit Scenario(const std::string& members) {
    directory_.write("small.json",
                     fmt::format(R"({{"name": "small", "description": "", {}, "options": {{
                                      "guest": "process", "memory": "32MiB"}}}})",
                                 members));
  }
  [[nodiscard]] std::string run() const {
    return fmt::format("run small --scenarios {} --out {}", directory_.path(), rows_path());
  }
  [[nodiscard]] const std::string& directory() const { return directory_.path(); }
  [[nodiscard]] std::string rows_path() const { return directory_.at("rows"); }
  [[nodiscard]] std::vector<Json> rows(const std::string& kind) const {
    std::vector<Json> found;
    for (const auto& row : json_lines(file_text(rows_path()))) {
      if (row.value("kind", "") == kind) {
        found.push_back(row);
      }
    }
    return found;
  }

 private:
  TemporaryDirectory directory_;
};

/// What /proc/PID/stat says behind the name: the state, then the parent.
std::string state_of(pid_t pid) {
  std::ifstream file(fmt::format("/proc/{}/stat", pid));
  std::string text;
  std::getline(file, text);
  const auto behind = text.rfind(") ");
  return behind == std::string::npos ? "" : text.substr(behind + 2);
}

/// Whether there is such a process that has not ended.
bool runs(pid_t pid) {
  const auto state = state_of(pid);
  return !state.empty() && state[0] != 'Z' && state[0] != 'X';
}

/// Processes whose parent is `pid`.
std::vector<pid_t> children_of(pid_t pid) {
  std::vector<pid_t> found;
  std::error_code error;
  for (fs::directory_iterator it("/proc", error), end; !error && it != end; it.increment(error)) {
    const auto name = it->path().filename().string();
    if (name.find_first_not_of("0123456789") != std::string::npos) {
      continue;
    }
    const auto one = static_cast<pid_t>(std::stol(name));
    if (const auto state = state_of(one); state.size() > 2 && std::stol(state.substr(2)) == pid) {
      found.push_back(one);
    }
  }
  return found;
}

std::string name_of(pid_t pid) {
  std::ifstream file(fmt::format("/proc/{}/comm", pid));
  std::string name;
  file >> name;
  return name;
}

/// The lab's busy loops.
std::vector<pid_t> loops_of(pid_t lab) {
  std::vector<pid_t> found;
  for (const auto pid : children_of(lab)) {
    if (name_of(pid) == "godwit-load") {
      found.push_back(pid);
    }
  }
  return found;
}

TEST(LabLoad, ARunIsLoadedAndTellsWhatTheLoadHad) {
  const Scenario scenario(R"("runs": 1, "load": {"busy": 2})");
  const auto ran = run_lab(scenario.run());
  EXPECT_EQ(ran.code, 0) << ran.all();
  const auto rows = scenario.rows("run");
  ASSERT_EQ(rows.size(), 1U);
  EXPECT_EQ(rows[0]["load"]["busy"], 2);
  EXPECT_GT(rows[0]["load_seen"].value("busy_cpu_ns", 0.0), 1e7) << rows[0]["load_seen"];
}

TEST(LabLoad, AQuotaHoldsSourceTargetAndGuests) {
  const Scenario scenario(R"("runs": 1, "load": {"cpu_quota": "50%"})");
  const auto ran = run_lab(scenario.run());
  if (const auto left = scenario.rows("left_out"); !left.empty()) {
    EXPECT_EQ(ran.code, 3);
    GODWIT_MISSING("surroundings", left.front().value("reason", ""));
  }
  EXPECT_EQ(ran.code, 0) << ran.all();
  const auto rows = scenario.rows("run");
  ASSERT_EQ(rows.size(), 1U);
  EXPECT_EQ(rows[0]["load"]["cpu_quota_percent"], 50);
  const auto& seen = rows[0]["load_seen"];
  EXPECT_GT(seen.value("throttled_periods", 0.0), 0) << seen;
  // Both guests fill their memory, and two processes wait for one another: more than one core's.
  const auto cpu_ns = rows[0]["figures"].value("cpu_source_ns", 0.0) +
                      rows[0]["figures"].value("cpu_target_ns", 0.0);
  EXPECT_LE(cpu_ns, (seen.value("periods", 0.0) + 1) * 50e6) << "more than the quota: " << seen;
}

TEST(LabLoad, AKilledLabLeavesNoLoop) {
  const Scenario scenario(R"("runs": 100, "load": {"busy": 2})");
  Process lab(lab_path(),
              {"run", "small", "--scenarios", scenario.directory(), "--out", scenario.rows_path()});
  std::vector<pid_t> loops;
  EXPECT_TRUE(eventually(
      [&] {
        loops = loops_of(lab.pid());
        return loops.size() == 2;
      },
      kSeconds))
      << lab.err();
  lab.signal(SIGKILL);
  EXPECT_EQ(lab.wait(kSeconds), -SIGKILL);
  EXPECT_EQ(loops.size(), 2U);
  EXPECT_TRUE(eventually([&] { return std::none_of(loops.begin(), loops.end(), runs); }, kSeconds));
}

TEST(LabLoad, GodwitRunsAsAnotherUser) {
  if (::geteuid() != 0) {
    GODWIT_MISSING("surroundings", "becoming another user takes root");
  }
  const Scenario scenario(R"("runs": 1, "user": "nobody")");
  Process lab(lab_path(),
              {"run", "small", "--scenarios", scenario.directory(), "--out", scenario.rows_path()});
  bool seen = false;
  const auto* nobody = ::getpwnam("nobody");
  ASSERT_NE(nobody, nullptr);
  EXPECT_TRUE(eventually(
      [&] {
        for (const auto pid : children_of(lab.pid())) {
          struct stat owner {};
          seen = seen || (::stat(fmt::format("/proc/{}", pid).c_str(), &owner) == 0 &&
                          owner.st_uid == nobody->pw_uid && name_of(pid) == "godwit");
        }
        return seen || lab.ended();
      },
      kSeconds));
  const auto code = lab.wait(kSeconds);
  if (const auto left = scenario.rows("left_out"); !left.empty()) {
    EXPECT_EQ(code, 3);
    GODWIT_MISSING("surroundings", left.front().value("reason", ""));
  }
  EXPECT_EQ(code, 0) << lab.err();
  EXPECT_TRUE(seen);
  const auto rows = scenario.rows("run");
  ASSERT_EQ(rows.size(), 1U);
  EXPECT_EQ(rows[0]["user"], "nobody");
  EXPECT_EQ(rows[0]["verified"], true);
}

}  // namespace
}  // namespace godwit::test
