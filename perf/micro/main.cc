#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

namespace {

/// Fails when a benchmark was skipped with an error: the library itself exits with 0 then.
class Watching final : public benchmark::ConsoleReporter {
 public:
  void ReportRuns(const std::vector<Run>& runs) override {
    for (const auto& run : runs) {
      failed_ = failed_ || run.error_occurred;
    }
    ConsoleReporter::ReportRuns(runs);
  }
  [[nodiscard]] bool failed() const { return failed_; }

 private:
  bool failed_ = false;
};

}  // namespace

// Google Benchmark's own options, and --smoke: every benchmark for a moment, to see that it works.
int main(int argc, char** argv) {
  std::vector<char*> words(argv, argv + argc);
  std::string shortest = "--benchmark_min_time=0.001";
  for (auto& word : words) {
    if (std::strcmp(word, "--smoke") == 0) {
      word = shortest.data();
    }
  }
  int count = static_cast<int>(words.size());
  benchmark::Initialize(&count, words.data());
  if (benchmark::ReportUnrecognizedArguments(count, words.data())) {
    return 2;
  }
  Watching reporter;
  const auto ran = benchmark::RunSpecifiedBenchmarks(&reporter);
  return ran > 0 && !reporter.failed() ? 0 : 1;
}
