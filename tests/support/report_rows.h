#pragma once

#include <string>

#include <fmt/format.h>

#include "rows/results_file.h"

namespace godwit::lab {

/// A verified run as a lab writes it, with every member that a report looks at; tests change what
/// they are about.
inline RunRow verified_run(const std::string& mode = "hybrid", double total_ns = 2e9) {
  RunRow run;
  run.set = "tests";
  run.scenario = "writer";
  run.side = "writer";
  run.swept = {{"mode", mode}};
  run.at_unix_s = 1'700'000'000;
  run.command = {"godwit", "demo", "--json", "--warm", "--memory", "64MiB", "--mode", mode};
  run.commit = "abc";
  run.host = {{"cpu", "a CPU"}, {"cores", 2}, {"load_1min", "0.10"}};
  run.verified = true;
  run.figures = {
      {"total_ns", total_ns}, {"downtime_ns", 1e6}, {"guest_gap_ns", 3e6}, {"cpu_source_ns", 5e8}};
  run.report = parse_json(fmt::format(R"({{
    "mode": "{}", "setup_ns": 100000000, "precopy_ns": 500000000, "downtime_ns": 1000000,
    "postcopy_ns": 300000000,
    "faults": {{"count": 2000, "p50_ns": 10000, "p99_ns": 90000, "p999_ns": 400000,
               "max_ns": 700000}},
    "rounds": [{{"pages": 1000, "dirtied_pages": 200}}, {{"pages": 200, "dirtied_pages": 0}}]}})",
                                      mode));
  return run;
}

}  // namespace godwit::lab
