#include "rows/results_file.h"

#include <cerrno>
#include <cmath>
#include <fstream>

#include <fmt/format.h>

#include "rows/results.h"

namespace godwit::lab {
namespace {

tl::unexpected<Error> bad(const std::string& origin, std::uint64_t line, const std::string& what) {
  return fail(
      ErrorCode::kInvalidArgument, "result file", fmt::format("{}:{}: {}", origin, line, what));
}

/// The member when it is an object, else an empty object or null.
Json object_at(const Json& row, const char* name, bool or_null) {
  const auto found = row.find(name);
  if (found != row.end() && found->is_object()) {
    return *found;
  }
  return or_null ? Json(nullptr) : Json::object();
}

bool is_true(const Json& row, const char* name) {
  const auto found = row.find(name);
  return found != row.end() && found->is_boolean() && found->get<bool>();
}

Json numbers_of(const Json& object) {
  auto numbers = Json::object();
  for (const auto& [name, value] : object.items()) {
    if (value.is_number() && std::isfinite(value.get<double>())) {
      numbers[name] = value.get<double>();
    }
  }
  return numbers;
}

RunRow run_of(const Json& row) {
  RunRow run;
  run.set = text_at(row, "/set");
  run.scenario = text_at(row, "/scenario");
  run.side = text_at(row, "/side");
  run.swept = object_at(row, "swept", false);
  run.link = object_at(row, "link", true);
  run.peer = object_at(row, "peer", true);
  run.load = object_at(row, "load", true);
  run.user = text_at(row, "/user");
  run.at_unix_s = number_at(row, "/at_unix_s");
  if (const auto words = row.find("command"); words != row.end() && words->is_array()) {
    for (const auto& word : *words) {
      run.command.push_back(plain_text(word));
    }
  }
  run.commit = text_at(row, "/commit");
  run.host = object_at(row, "host", false);
  run.verified = is_true(row, "verified");
  run.reason = text_at(row, "/reason");
  run.figures = numbers_of(object_at(row, "figures", false));
  run.report = object_at(row, "report", true);
  return run;
}

/// What is wrong with a row; empty: nothing.
std::string fault_of(const Json& row) {
  if (!row.is_object()) {
    return "is no JSON object; a lab that was killed may have left half a line, which can go";
  }
  if (text_at(row, "/schema") != kLabSchema) {
    return fmt::format("is no row of schema {}", kLabSchema);
  }
  if (text_at(row, "/kind") == "run" && text_at(row, "/scenario").empty()) {
    return "a row of kind 'run' without 'scenario'";
  }
  return {};
}

}  // namespace

Status read_rows(std::istream& in, const std::string& origin, ResultRows& rows) {
  std::uint64_t number = 0;
  for (std::string line; std::getline(in, line);) {
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string::npos) {
      continue;
    }
    const auto row = parse_json(line);
    if (const auto fault = fault_of(row); !fault.empty()) {
      return bad(origin, number, fault);
    }
    const auto kind = text_at(row, "/kind");
    if (kind == "run") {
      rows.runs.push_back(run_of(row));
    } else if (kind == "limit") {
      rows.limits.push_back(
          {text_at(row, "/scenario"), text_at(row, "/text"), is_true(row, "met")});
    } else if (kind == "left_out") {
      rows.left_out.push_back(
          {text_at(row, "/scenario"), object_at(row, "peer", true), text_at(row, "/reason")});
    }
  }
  return {};
}

Status read_result_file(const std::string& path, ResultRows& rows) {
  std::ifstream file(path);
  if (!file) {
    return fail_errno(errno, "result file", path);
  }
  const auto before = rows.runs.size();
  GODWIT_TRY(read_rows(file, path, rows));
  if (file.bad()) {
    return fail_errno(errno, "result file", path);
  }
  if (rows.runs.size() == before) {
    return fail(ErrorCode::kInvalidArgument,
                "result file",
                path + " has no row of kind 'run'; 'godwit-lab run NAME --out FILE' writes them");
  }
  return {};
}

}  // namespace godwit::lab
