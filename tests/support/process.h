#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

#include "godwit/base/fd.h"

#include "support/json_view.h"

namespace godwit::test {

/// Waits for something that another process does; it is looked at every two milliseconds.
bool eventually(const std::function<bool()>& condition, int seconds = 20);

/// The programs under test.
const char* command_path();
const char* lab_path();

/// "a b  c" as {"a", "b", "c"}.
std::vector<std::string> words(const std::string& text);

/// Runs in the child before the program takes its place: limits, namespaces, filters.
using Prepare = std::function<void()>;

/// A process under test, and what it writes. Ownership: killed and reaped on destruction if it
/// still runs.
class Process {
 public:
  /// `godwit ARGUMENTS`, cut at spaces.
  explicit Process(const std::string& arguments, const Prepare& prepare = {});
  /// The program at a path.
  Process(const std::string& program,
          std::vector<std::string> arguments,
          const Prepare& prepare = {});
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  ~Process();

  [[nodiscard]] pid_t pid() const { return pid_; }
  void signal(int number) const;
  [[nodiscard]] bool ended();
  /// The exit code, or minus the signal that ended it; -1000 if it had to be killed for time.
  int wait(int seconds = 60);
  [[nodiscard]] std::string out() const;
  [[nodiscard]] std::string err() const;
  /// The first line on stdout; empty if the process ended without one.
  std::string first_line();

 private:
  void note(int status);

  Fd out_, err_;
  pid_t pid_ = -1;
  int code_ = -1;
};

/// What a run of a program to its end gave.
struct Outcome {
  int code = -1;  ///< as Process::wait() tells it
  std::string out, err;
  Json json;  ///< null when stdout is not one JSON value

  /// A member of the error that a report names; empty if it names none.
  [[nodiscard]] std::string error(const char* member) const;
  /// For the message of a failing test.
  [[nodiscard]] std::string all() const;
};

/// Waits for its end.
Outcome outcome_of(Process& process, int seconds = 60);

}  // namespace godwit::test
