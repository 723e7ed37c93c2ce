#pragma once

#include <cstdint>
#include <istream>
#include <string>
#include <vector>

#include "godwit/base/result.h"
#include "godwit/json/json.h"

namespace godwit::lab {

/// A row of kind "run", as perf/README.md documents it. Members that the row lacks are empty.
struct RunRow {
  std::string set;
  std::string scenario;
  std::string side;
  Json swept;           ///< object
  Json link;            ///< object, or null: no emulated link
  Json peer;            ///< object, or null: godwit itself
  Json load = nullptr;  ///< object, or null: a host left alone
  std::string user;     ///< who ran it; empty: who ran the lab
  double at_unix_s = 0;
  std::vector<std::string> command;
  std::string commit;
  Json host;  ///< object
  bool verified = false;
  std::string reason;  ///< why it was not verified
  Json figures;        ///< object of numbers
  Json report;         ///< object or null
};

/// A row of kind "limit".
struct LimitRow {
  std::string scenario;
  std::string text;
  bool met = false;
};

/// A row of kind "left_out": what could not be measured where the lab ran.
struct LeftOutRow {
  std::string scenario;  ///< may be empty
  Json peer;             ///< object or null
  std::string reason;
};

struct ResultRows {
  std::vector<RunRow> runs;
  std::vector<LimitRow> limits = {};
  std::vector<LeftOutRow> left_out = {};
};

/// Reads JSON lines of schema godwit.lab.v1 and appends what it finds. Rows of other kinds follow
/// from the runs and are passed over. `origin` is named in errors.
/// Errors: kInvalidArgument "ORIGIN:LINE: ..." for what is no such row.
Status read_rows(std::istream& in, const std::string& origin, ResultRows& rows);

/// The same from a file. Errors: also kIo when it cannot be read, kInvalidArgument when it has no
/// run.
Status read_result_file(const std::string& path, ResultRows& rows);

}  // namespace godwit::lab
