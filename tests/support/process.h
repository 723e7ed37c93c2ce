#pragma once

#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "godwit/base/fd.h"

#include "support/json_view.h"

#ifndef GODWIT_COMMAND
#error "GODWIT_COMMAND is the path of the godwit command under test"
#endif

namespace godwit::test {

/// Waits for something that another process does; it is looked at every two milliseconds.
inline bool eventually(const std::function<bool()>& condition, int seconds = 20) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) {
      return false;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

/// "a b  c" as {"a", "b", "c"}.
inline std::vector<std::string> words(const std::string& text) {
  std::vector<std::string> out;
  for (std::size_t at = 0; (at = text.find_first_not_of(' ', at)) != std::string::npos;) {
    const auto end = std::min(text.find(' ', at), text.size());
    out.push_back(text.substr(at, end - at));
    at = end;
  }
  return out;
}

/// Runs in the child before the command takes its place: limits, namespaces, filters.
using Prepare = std::function<void()>;

/// A `godwit` process. Ownership: killed and reaped on destruction if it still runs.
class Process {
 public:
  explicit Process(const std::string& arguments, const Prepare& prepare = {})
      : out_(::memfd_create("stdout", MFD_CLOEXEC)), err_(::memfd_create("stderr", MFD_CLOEXEC)) {
    auto arguments_split = words(arguments);
    arguments_split.insert(arguments_split.begin(), "godwit");
    std::vector<char*> argv;
    for (auto& word : arguments_split) {
      argv.push_back(word.data());
    }
    argv.push_back(nullptr);
    // Opened here: the child may not be allowed to.
    const Fd command(::open(GODWIT_COMMAND, O_RDONLY | O_CLOEXEC));
    pid_ = ::fork();
    if (pid_ == 0) {
      ::dup2(out_.get(), STDOUT_FILENO);
      ::dup2(err_.get(), STDERR_FILENO);
      if (prepare) {
        prepare();
      }
      ::fexecve(command.get(), argv.data(), environ);
      ::_exit(122);
    }
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  ~Process() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      wait();
    }
  }

  [[nodiscard]] pid_t pid() const { return pid_; }
  void signal(int number) const { ::kill(pid_, number); }
  [[nodiscard]] bool ended() {
    if (pid_ > 0) {
      int status = 0;
      if (::waitpid(pid_, &status, WNOHANG) == pid_) {
        note(status);
      }
    }
    return pid_ < 0;
  }
  /// The exit code, or minus the signal that ended it; -1000 if it had to be killed for time.
  int wait(int seconds = 60) {
    if (!eventually([this] { return ended(); }, seconds)) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
      pid_ = -1;
      code_ = -1000;
    }
    return code_;
  }
  [[nodiscard]] std::string out() const { return text(out_); }
  [[nodiscard]] std::string err() const { return text(err_); }
  /// The first line on stdout; empty if the process ended without one.
  std::string first_line() {
    eventually([this] { return out().find('\n') != std::string::npos || ended(); }, 60);
    const auto all = out();
    return all.substr(0, all.find('\n'));
  }

 private:
  static std::string text(const Fd& fd) {
    std::string all;
    char buffer[4096];
    for (ssize_t got = 0;
         (got = ::pread(fd.get(), buffer, sizeof buffer, static_cast<off_t>(all.size()))) > 0;) {
      all.append(buffer, static_cast<std::size_t>(got));
    }
    return all;
  }
  void note(int status) {
    pid_ = -1;
    code_ = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }

  Fd out_, err_;
  pid_t pid_ = -1;
  int code_ = -1;
};

/// What a run of the command to its end gave.
struct Outcome {
  int code = -1;
  std::string out, err;
  Json json;  ///< null when stdout is not one JSON object
  [[nodiscard]] std::string error(const char* member) const {
    return json.is_object() && json.contains("error") && json["error"].is_object()
               ? json["error"].value(member, "")
               : "";
  }
  [[nodiscard]] std::string all() const {
    return fmt::format("code {}\nstdout: {}\nstderr: {}", code, out, err);
  }
};

inline Outcome outcome_of(Process& process, int seconds = 60) {
  Outcome outcome;
  outcome.code = process.wait(seconds);
  outcome.out = process.out();
  outcome.err = process.err();
  outcome.json = parse_json(outcome.out);
  if (outcome.json.is_discarded()) {
    outcome.json = nullptr;
  }
  return outcome;
}

inline Outcome run(const std::string& arguments, const Prepare& prepare = {}) {
  Process process(arguments, prepare);
  return outcome_of(process);
}

/// One question to a control socket, as the command's own clients ask it. Null without an answer.
inline Json ask(const std::string& control, const Json& request) {
  const Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  control.copy(address.sun_path, sizeof address.sun_path - 1);
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    return nullptr;
  }
  const auto line = json_text(request) + "\n";
  if (::send(fd.get(), line.data(), line.size(), MSG_NOSIGNAL) < 0) {
    return nullptr;
  }
  std::string received;
  char buffer[4096];
  while (true) {
    if (const auto end = received.find('\n'); end != std::string::npos) {
      auto json = parse_json(received.substr(0, end));
      if (json.is_discarded() || json.value("type", "") != "progress") {
        return json;
      }
      received.erase(0, end + 1);
      continue;
    }
    const auto got = ::recv(fd.get(), buffer, sizeof buffer, 0);
    if (got <= 0) {
      return nullptr;
    }
    received.append(buffer, static_cast<std::size_t>(got));
  }
}

inline Json ask(const std::string& control, const char* command) {
  return ask(control, Json{{"command", command}});
}

/// A directory for control sockets. Ownership: removed with all in it.
class TemporaryDirectory {
 public:
  TemporaryDirectory() : path_("/tmp/godwit-test-XXXXXX") {
    if (::mkdtemp(path_.data()) == nullptr) {
      std::perror("mkdtemp");
    }
    ::chmod(path_.c_str(), 0777);  // some of the processes under test run as somebody else
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  ~TemporaryDirectory() {
    for (const auto& name : names()) {
      ::unlink(at(name).c_str());
    }
    ::rmdir(path_.c_str());
  }
  [[nodiscard]] std::string at(const std::string& name) const { return path_ + "/" + name; }
  [[nodiscard]] std::vector<std::string> names() const {
    std::vector<std::string> out;
    if (DIR* directory = ::opendir(path_.c_str()); directory != nullptr) {
      while (const auto* entry = ::readdir(directory)) {
        if (const std::string name = entry->d_name; name != "." && name != "..") {
          out.push_back(name);
        }
      }
      ::closedir(directory);
    }
    return out;
  }

 private:
  std::string path_;
};

}  // namespace godwit::test
