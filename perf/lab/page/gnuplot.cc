#include "page/gnuplot.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include <fmt/format.h>

#include "godwit/base/fd.h"

#include "ground/child.h"
#include "ground/process.h"

namespace godwit::lab {
namespace {

/// A plot takes a tenth of a second; this is for a machine that is busy with other things.
constexpr std::int64_t kDeadlineNs = 30'000'000'000;

Status write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const auto wrote = ::write(fd, text.data(), text.size());
    if (wrote < 0 && errno != EINTR) {
      return fail_errno(errno, "gnuplot", "the script");
    }
    text.remove_prefix(wrote < 0 ? 0 : static_cast<std::size_t>(wrote));
  }
  return {};
}

}  // namespace

Result<Gnuplot> Gnuplot::find() {
  if (auto program = find_program("gnuplot"); !program.empty()) {
    return Gnuplot(std::move(program));
  }
  return fail(ErrorCode::kUnsupported,
              "gnuplot",
              "not found on PATH; it draws the plots: apt-get install gnuplot-nox");
}

Result<std::string> Gnuplot::run(const std::string& script, int interrupt_fd) const {
  // Inherited by the child, and gone with it whatever happens.
  const Fd file(::memfd_create("godwit-gnuplot", 0));
  if (!file.valid()) {
    return fail_errno(errno, "memfd_create");
  }
  GODWIT_TRY(write_all(file.get(), script));
  // -d: the settings in a user's ~/.gnuplot are theirs.
  GODWIT_TRY_ASSIGN(auto ran,
                    run_child({program_, "-d", fmt::format("/dev/fd/{}", file.get())},
                              interrupt_fd,
                              Deadline::after_ns(kDeadlineNs)));
  if (ran.interrupted) {
    return fail(ErrorCode::kCancelled, "gnuplot", "interrupted");
  }
  if (ran.timed_out) {
    return fail(ErrorCode::kTimeout, "gnuplot", "took longer than 30 s for one plot");
  }
  if (ran.exit_code != 0 || ran.out.find("</svg>") == std::string::npos) {
    return fail(ErrorCode::kIo,
                "gnuplot",
                fmt::format("exit code {} and no plot: {}", ran.exit_code, ran.errors));
  }
  return std::move(ran.out);
}

}  // namespace godwit::lab
