#include "cli/output.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdint>
#include <cstdio>
#include <mutex>
#include <string>

#include <fmt/format.h>

#include "cli/exit_code.h"

namespace godwit::app {

namespace {

/// For what a person is told: a reader that is a little late still gets it.
constexpr int kPatienceMs = 200;

/// A pipe that poll() calls writable takes PIPE_BUF bytes at once. Source: pipe(7)
bool write_some(std::string_view text, int patience_ms) {
  while (!text.empty()) {
    pollfd polled{STDERR_FILENO, POLLOUT, 0};
    if (::poll(&polled, 1, patience_ms) != 1 || (polled.revents & POLLOUT) == 0) {
      return false;
    }
    const auto wrote =
        ::write(STDERR_FILENO, text.data(), std::min<std::size_t>(text.size(), PIPE_BUF));
    if (wrote < 0 && errno != EINTR) {
      return false;
    }
    text.remove_prefix(wrote < 0 ? 0 : static_cast<std::size_t>(wrote));
  }
  return true;
}

}  // namespace

void write_stderr(std::string_view line, int patience_ms) {
  static std::mutex mutex;
  static std::uint64_t lost = 0;
  const std::lock_guard lock(mutex);
  if (lost != 0 &&
      write_some(fmt::format("godwit: {} lines are lost: nobody read them\n", lost), patience_ms)) {
    lost = 0;
  }
  if (lost != 0 || !write_some(line, patience_ms)) {
    ++lost;
  }
}

void print_to(std::FILE* stream, std::string_view text) {
  if (stream == stderr) {
    write_stderr(text, kPatienceMs);
    return;
  }
  std::fwrite(text.data(), 1, text.size(), stream);
  std::fflush(stream);
}

void complain(std::string_view text) {
  print_to(stderr, "godwit: " + std::string(text) + "\n");
}

int finish_output(int code) {
  const bool flushed = std::fflush(stdout) == 0;
  if (flushed && std::ferror(stdout) == 0) {
    return code;
  }
  complain("the result could not be written to stdout");
  return code == kExitOk ? static_cast<int>(kExitEnvironment) : code;
}

}  // namespace godwit::app
