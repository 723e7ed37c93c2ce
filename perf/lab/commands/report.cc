#include <cerrno>
#include <cstdio>
#include <filesystem>

#include <fmt/format.h>

#include "commands/commands.h"
#include "page/gnuplot.h"
#include "page/page.h"
#include "rows/results_file.h"

namespace godwit::lab {
namespace {

/// All of it or nothing: a page that is cut off looks like one that shows less.
Status write_file(const std::string& path, const std::string& text) {
  const auto partial = path + ".partial";
  std::FILE* file = std::fopen(partial.c_str(), "we");
  if (file == nullptr) {
    return fail_errno(errno, "report", partial);
  }
  const bool wrote = std::fwrite(text.data(), 1, text.size(), file) == text.size();
  const bool closed = std::fclose(file) == 0;
  if (!wrote || !closed || std::rename(partial.c_str(), path.c_str()) != 0) {
    const auto cause = errno;
    std::remove(partial.c_str());
    return fail_errno(cause, "report", path);
  }
  return {};
}

Status report(const Common& common, const ReportLine& line) {
  ResultRows rows;
  std::string title;
  for (const auto& file : line.files) {
    GODWIT_TRY(read_result_file(file, rows));
    title += (title.empty() ? "" : ", ") + std::filesystem::path(file).filename().string();
  }
  GODWIT_TRY_ASSIGN(const auto gnuplot, Gnuplot::find());
  const Draw draw = [&](const std::string& script) {
    return gnuplot.run(script, common.interrupt_fd);
  };
  GODWIT_TRY_ASSIGN(const auto page, report_page(title, rows, draw));
  GODWIT_TRY(write_file(line.out, page));
  fmt::print("{}: {} runs from {}\n", line.out, rows.runs.size(), title);
  return {};
}

}  // namespace

int perform(const Common& common, const ReportLine& line) {
  const auto done = report(common, line);
  return done ? kExitOk : complain(done.error());
}

}  // namespace godwit::lab
