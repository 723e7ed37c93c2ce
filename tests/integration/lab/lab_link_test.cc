// Runs over links: what the lab leaves behind when it is interrupted or killed, and what it does
// where no namespace can be made.

#include <sys/types.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <system_error>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/command/command.h"
#include "support/link_support.h"
#include "support/temporary_directory.h"

namespace godwit::test {
namespace {

namespace fs = std::filesystem;

/// A directory with scenarios.
class Scenarios {
 public:
  Scenarios() {
    add("linked", R"("runs": 50, "link": {"delay_us": 100})");
    add("plain", R"("runs": 1)");
    directory_.write("both.json", R"({"description": "", "scenarios": ["linked", "plain"]})");
  }
  [[nodiscard]] std::string at(const std::string& name) const { return directory_.at(name); }
  [[nodiscard]] const std::string& directory() const { return directory_.path(); }

 private:
  void add(const std::string& name, const std::string& more) const {
    directory_.write(name + ".json",
                     fmt::format(R"({{"name": "{}", "description": "", {}, "options": {{
                                      "guest": "process", "memory": "32MiB", "mode": "precopy"}}}})",
                                 name,
                                 more));
  }
  TemporaryDirectory directory_;
};

std::vector<Json> rows(const std::string& path) {
  return json_lines(file_text(path));
}

std::size_t rows_of(const std::string& path, const std::string& kind) {
  std::size_t count = 0;
  for (const auto& row : rows(path)) {
    count += row.value("kind", "") == kind ? 1 : 0;
  }
  return count;
}

/// "net:[4026531840]" of every network namespace in `directory`, whose entries are links.
void add_namespaces(const fs::path& directory, std::set<std::string>& found) {
  std::error_code error;
  for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) {
    std::error_code unreadable;
    const auto to = fs::read_symlink(it->path(), unreadable).string();
    if (to.rfind("net:[", 0) == 0) {
      found.insert(to);
    }
  }
}

std::set<std::string> held_by(pid_t pid) {
  std::set<std::string> found;
  add_namespaces(fmt::format("/proc/{}/fd", pid), found);
  add_namespaces(fmt::format("/proc/{}/ns", pid), found);
  return found;
}

/// Every network namespace that some process lives in or holds, or that is mounted somewhere.
std::set<std::string> all_namespaces() {
  std::set<std::string> found;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    const auto name = entry.path().filename().string();
    if (name.find_first_not_of("0123456789") == std::string::npos) {
      found.merge(held_by(static_cast<pid_t>(std::stol(name))));
    }
  }
  std::ifstream mounts("/proc/self/mountinfo");
  for (std::string line; std::getline(mounts, line);) {
    if (const auto at = line.find("net:["); at != std::string::npos) {
      found.insert(line.substr(at, line.find(']', at) + 1 - at));
    }
  }
  return found;
}

std::set<std::string> devices() {
  std::set<std::string> found;
  for (const auto& entry : fs::directory_iterator("/sys/class/net")) {
    found.insert(entry.path().filename().string());
  }
  return found;
}

/// Processes whose command line names the lab's process, as those of its runs do.
std::vector<pid_t> processes_that_name(pid_t lab) {
  std::vector<pid_t> found;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    const auto name = entry.path().filename().string();
    if (name.find_first_not_of("0123456789") != std::string::npos) {
      continue;
    }
    std::ifstream file(entry.path() / "cmdline", std::ios::binary);
    const std::string line((std::istreambuf_iterator<char>(file)), {});
    if (line.find(fmt::format("/proc/{}/fd/", lab)) != std::string::npos) {
      found.push_back(static_cast<pid_t>(std::stol(name)));
    }
  }
  return found;
}

/// Two namespaces and three processes are made for each run.
constexpr int kSeconds = 60;

/// Ends a lab in the middle of its second run and looks at what is left. Returns its exit code.
int end_by(int signal, const Scenarios& scenarios) {
  const auto devices_before = devices();
  const auto here = held_by(::getpid());
  const auto out = scenarios.at("rows");
  Process lab(lab_path(), {"run", "linked", "--scenarios", scenarios.directory(), "--out", out});
  EXPECT_TRUE(eventually([&] { return rows_of(out, "run") >= 1; }, kSeconds)) << lab.err();
  // The demo and both of its children, each in its namespace.
  EXPECT_TRUE(eventually([&] { return processes_that_name(lab.pid()).size() == 1; }, kSeconds));
  auto links = held_by(lab.pid());
  for (const auto& one : here) {
    links.erase(one);
  }
  EXPECT_EQ(links.size(), 2U) << "two namespaces";
  EXPECT_EQ(devices(), devices_before) << "this namespace is not touched";
  const auto pid = lab.pid();
  lab.signal(signal);
  const auto code = lab.wait(kSeconds);
  EXPECT_TRUE(eventually([&] { return processes_that_name(pid).empty(); }, kSeconds));
  const auto gone = [&] {
    const auto all = all_namespaces();
    for (const auto& one : links) {
      if (all.count(one) != 0) {
        return false;
      }
    }
    return true;
  };
  EXPECT_TRUE(eventually(gone, kSeconds)) << "a namespace is still held, and with it its devices";
  EXPECT_EQ(devices(), devices_before);
  const auto kept = rows(out);
  EXPECT_FALSE(kept.empty());
  for (const auto& row : kept) {
    if (row.value("kind", "") == "run") {
      EXPECT_EQ(row["verified"], true) << row;
      EXPECT_EQ(row["link"]["delay_us"], 100) << row["link"];
    }
  }
  return code;
}

const lab::LinkSpec kSpec{.delay_us = 100, .emulated = true};

TEST(LabLink, AnInterruptedLabLeavesNothingAndKeepsItsResults) {
  GODWIT_NEED_LINK(kSpec);
  const Scenarios scenarios;
  EXPECT_EQ(end_by(SIGINT, scenarios), 130);
  EXPECT_EQ(rows_of(scenarios.at("rows"), "summary"), 1U);
}

TEST(LabLink, AKilledLabLeavesNothing) {
  GODWIT_NEED_LINK(kSpec);
  EXPECT_EQ(end_by(SIGKILL, Scenarios()), -SIGKILL);
}

/// Runs the lab without the right to make namespaces.
Outcome run_without_root(const Scenarios& scenarios, const std::string& name) {
  return run_shell(fmt::format(
      "{}{} run {} --scenarios {} --out {}",
      ::geteuid() == 0 ? "setpriv --bounding-set=-sys_admin --inh-caps=-sys_admin " : "",
      lab_path(),
      name,
      scenarios.directory(),
      scenarios.at("rows")));
}

TEST(LabLink, WithoutRootTheRestIsMeasured) {
  const Scenarios scenarios;
  const auto ran = run_without_root(scenarios, "both");
  EXPECT_EQ(ran.code, 0) << ran.all();
  const auto out = scenarios.at("rows");
  EXPECT_EQ(rows_of(out, "left_out"), 1U);
  EXPECT_EQ(rows_of(out, "run"), 1U);
  EXPECT_EQ(rows(out).front().value("scenario", ""), "linked");
  EXPECT_THAT(rows(out).front().value("reason", ""), testing::HasSubstr("be root"));
  EXPECT_THAT(ran.err, testing::HasSubstr("left out: linked"));
}

TEST(LabLink, WithoutRootNothingButLinksIsAnErrorOfTheEnvironment) {
  const Scenarios scenarios;
  EXPECT_EQ(run_without_root(scenarios, "linked").code, 3);
  EXPECT_EQ(rows_of(scenarios.at("rows"), "run"), 0U);
}

}  // namespace
}  // namespace godwit::test
