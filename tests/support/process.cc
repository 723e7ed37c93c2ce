#include "support/process.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <thread>
#include <utility>

#include <fmt/format.h>

namespace godwit::test {
namespace {

std::string text(const Fd& fd) {
  std::string all;
  char buffer[4096];
  for (ssize_t got = 0;
       (got = ::pread(fd.get(), buffer, sizeof buffer, static_cast<off_t>(all.size()))) > 0;) {
    all.append(buffer, static_cast<std::size_t>(got));
  }
  return all;
}

}  // namespace

const char* command_path() {
  return GODWIT_COMMAND;
}

const char* lab_path() {
  return GODWIT_LAB;
}

std::vector<std::string> words(const std::string& text) {
  std::vector<std::string> out;
  for (std::size_t at = 0; (at = text.find_first_not_of(' ', at)) != std::string::npos;) {
    const auto end = std::min(text.find(' ', at), text.size());
    out.push_back(text.substr(at, end - at));
    at = end;
  }
  return out;
}

bool eventually(const std::function<bool()>& condition, int seconds) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) {
      return false;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

Process::Process(const std::string& arguments, const Prepare& prepare)
    : Process(command_path(), words(arguments), prepare) {}

Process::Process(const std::string& program,
                 std::vector<std::string> arguments,
                 const Prepare& prepare)
    : out_(::memfd_create("stdout", MFD_CLOEXEC)), err_(::memfd_create("stderr", MFD_CLOEXEC)) {
  arguments.insert(arguments.begin(), program.substr(program.rfind('/') + 1));
  std::vector<char*> argv;
  for (auto& argument : arguments) {
    argv.push_back(argument.data());
  }
  argv.push_back(nullptr);
  // Opened here: the child may not be allowed to.
  const Fd file(::open(program.c_str(), O_RDONLY | O_CLOEXEC));
  pid_ = ::fork();
  if (pid_ == 0) {
    ::dup2(out_.get(), STDOUT_FILENO);
    ::dup2(err_.get(), STDERR_FILENO);
    if (prepare) {
      prepare();
    }
    ::fexecve(file.get(), argv.data(), environ);
    ::_exit(122);
  }
}

Process::~Process() {
  if (pid_ > 0) {
    ::kill(pid_, SIGKILL);
    wait();
  }
}

void Process::signal(int number) const {
  ::kill(pid_, number);
}

bool Process::ended() {
  if (pid_ > 0) {
    int status = 0;
    if (::waitpid(pid_, &status, WNOHANG) == pid_) {
      note(status);
    }
  }
  return pid_ < 0;
}

int Process::wait(int seconds) {
  if (!eventually([this] { return ended(); }, seconds)) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = -1;
    code_ = -1000;
  }
  return code_;
}

std::string Process::out() const {
  return text(out_);
}

std::string Process::err() const {
  return text(err_);
}

std::string Process::first_line() {
  eventually([this] { return out().find('\n') != std::string::npos || ended(); }, 60);
  const auto all = out();
  return all.substr(0, all.find('\n'));
}

void Process::note(int status) {
  pid_ = -1;
  code_ = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

std::string Outcome::error(const char* member) const {
  return json.is_object() && json.contains("error") && json["error"].is_object()
             ? json["error"].value(member, "")
             : "";
}

std::string Outcome::all() const {
  return fmt::format("code {}\nstdout: {}\nstderr: {}", code, out, err);
}

Outcome outcome_of(Process& process, int seconds) {
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

}  // namespace godwit::test
