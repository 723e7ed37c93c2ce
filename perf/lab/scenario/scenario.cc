#include "scenario/scenario.h"

#include <algorithm>
#include <array>
#include <fstream>

#include <fmt/format.h>

#include "ground/figures.h"
#include "link/link_spec.h"
#include "load/load_spec.h"

namespace godwit::lab {
namespace {

tl::unexpected<Error> bad(const std::string& origin, const std::string& what) {
  return fail(ErrorCode::kInvalidArgument, "scenario", fmt::format("{}: {}", origin, what));
}

bool is_value(const Json& json) {
  return json.is_string() || json.is_boolean() || json.is_number_integer();
}

Status check_options(const Json& options, const std::string& origin) {
  for (const auto& [name, value] : options.items()) {
    if (name == "json" || name == "warm") {
      return bad(origin, fmt::format("option '{}' is set by the lab itself", name));
    }
    const bool list =
        value.is_array() && !value.empty() &&
        std::all_of(value.begin(), value.end(), [](const Json& one) { return is_value(one); });
    if (!list && !is_value(value)) {
      return bad(origin,
                 fmt::format("option '{}' is no text, integer, true, false or list of such", name));
    }
  }
  return {};
}

Result<Limit> parse_limit(const Json& json, bool has_against, const std::string& origin) {
  Limit limit;
  if (!json.is_object()) {
    return bad(origin, "a limit is an object with 'figure' and one bound");
  }
  for (const auto& [name, value] : json.items()) {
    if (name == "figure" && value.is_string()) {
      limit.figure = value.get<std::string>();
    } else if (name == "at_least" && value.is_number()) {
      limit.at_least = value.get<double>();
    } else if (name == "at_most" && value.is_number()) {
      limit.at_most = value.get<double>();
    } else if (name == "ratio_at_most" && value.is_number()) {
      limit.ratio_at_most = value.get<double>();
    } else {
      return bad(origin, fmt::format("'{}' of a limit is unknown or of the wrong type", name));
    }
  }
  if (find_figure(limit.figure) == nullptr) {
    return bad(origin, fmt::format("there is no figure '{}'", limit.figure));
  }
  const auto bounds = int{limit.at_least.has_value()} + int{limit.at_most.has_value()} +
                      int{limit.ratio_at_most.has_value()};
  if (bounds != 1) {
    return bad(origin, "a limit has exactly one of at_least, at_most and ratio_at_most");
  }
  if (limit.ratio_at_most && !has_against) {
    return bad(origin, "ratio_at_most needs a scenario in 'against'");
  }
  return limit;
}

/// Puts the members of a scenario's `options`, `link` or `load` into every point; a list multiplies
/// them.
void spread(std::vector<Point>& points,
            const Json& members,
            Json Point::*into,
            const std::string& prefix) {
  if (!members.is_object()) {
    return;
  }
  for (auto& point : points) {
    point.*into = Json::object();
  }
  for (const auto& [name, value] : members.items()) {
    const bool sweep = value.is_array();
    const auto values = sweep ? value : Json::array({value});
    std::vector<Point> next;
    for (const auto& point : points) {
      for (const auto& one : values) {
        auto more = point;
        (more.*into)[name] = one;
        if (sweep) {
          more.swept[prefix + name] = one;
        }
        next.push_back(std::move(more));
      }
    }
    points = std::move(next);
  }
}

void spread_users(std::vector<Point>& points, const Json& user) {
  if (user.is_null()) {
    return;
  }
  std::vector<Point> next;
  for (const auto& point : points) {
    for (const auto& one : user.is_array() ? user : Json::array({user})) {
      auto more = point;
      more.user = plain_text(one);
      if (user.is_array()) {
        more.swept["user"] = one;
      }
      next.push_back(std::move(more));
    }
  }
  points = std::move(next);
}

Status no_empty_list(const Json& members, const char* of, const std::string& origin) {
  for (const auto& [name, value] : members.items()) {
    if (value.is_array() && value.empty()) {
      return bad(origin, fmt::format("'{}' of '{}' is an empty list", name, of));
    }
  }
  return {};
}

/// Every combination of the link's values has to make sense.
Status check_link(const Scenario& scenario, const std::string& origin) {
  if (scenario.link.is_null()) {
    return {};
  }
  for (const auto* option : {"listen", "to", "source_netns", "target_netns"}) {
    if (scenario.options.contains(option)) {
      return bad(origin, fmt::format("option '{}' is set by the lab itself for a link", option));
    }
  }
  GODWIT_TRY(no_empty_list(scenario.link, "link", origin));
  for (const auto& point : scenario.points()) {
    GODWIT_TRY(parse_link(point.link, origin));
  }
  return {};
}

Status check_load(const Scenario& scenario, const std::string& origin) {
  if (scenario.load.is_null()) {
    return {};
  }
  GODWIT_TRY(no_empty_list(scenario.load, "load", origin));
  for (const auto& point : scenario.points()) {
    GODWIT_TRY(parse_load(point.load, origin));
  }
  return {};
}

Status check_user(const Scenario& scenario, const std::string& origin) {
  if (scenario.user.is_null()) {
    return {};
  }
  if (!scenario.link.is_null()) {
    return bad(origin,
               "'user' and 'link' exclude each other: only root enters a link's namespaces");
  }
  const auto names = scenario.user.is_array() ? scenario.user : Json::array({scenario.user});
  const bool good = !names.empty() && std::all_of(names.begin(), names.end(), [](const Json& one) {
    return one.is_string() && !one.get<std::string>().empty();
  });
  return good ? Status() : bad(origin, "'user' is no name or list of names");
}

/// What surrounds the runs: members may need or exclude each other.
Status check_surroundings(const Scenario& scenario, const std::string& origin) {
  GODWIT_TRY(check_user(scenario, origin));
  GODWIT_TRY(check_link(scenario, origin));
  return check_load(scenario, origin);
}

Result<Json> parse_file(const std::filesystem::path& path) {
  std::ifstream file(path);
  if (!file) {
    return fail_errno(errno, "scenario", path.string());
  }
  auto json = parse_json(file, JsonComments::kAllowed);
  if (!json.is_object()) {
    return bad(path.string(), "is no JSON object");
  }
  return json;
}

}  // namespace

std::string Point::name() const {
  auto text = scenario;
  for (const auto& [option, value] : swept.items()) {
    text += fmt::format(" {}={}", option, plain_text(value));
  }
  return text;
}

std::vector<std::string> Point::arguments() const {
  std::vector<std::string> words;
  for (const auto& [name, value] : options.items()) {
    auto flag = "--" + name;
    std::replace(flag.begin(), flag.end(), '_', '-');
    if (value.is_boolean()) {
      if (value.get<bool>()) {
        words.push_back(flag);
      }
      continue;
    }
    words.push_back(flag);
    words.push_back(plain_text(value));
  }
  return words;
}

std::vector<Point> Scenario::points() const {
  std::vector<Point> points{{name, Json::object(), Json::object()}};
  spread(points, link, &Point::link, "link.");
  spread(points, load, &Point::load, "load.");
  spread_users(points, user);
  spread(points, options, &Point::options, "");
  return points;
}

Result<Scenario> parse_scenario(const Json& json, const std::string& origin) {
  Scenario scenario;
  for (const auto& [name, value] : json.items()) {
    if (name == "name" && value.is_string()) {
      scenario.name = value.get<std::string>();
    } else if (name == "description" && value.is_string()) {
      scenario.description = value.get<std::string>();
    } else if (name == "options" && value.is_object()) {
      scenario.options = value;
    } else if (name == "link" && value.is_object()) {
      scenario.link = value;
    } else if (name == "load" && value.is_object()) {
      scenario.load = value;
    } else if (name == "user") {
      scenario.user = value;
    } else if (name == "runs" && value.is_number_unsigned() && value.get<unsigned>() > 0) {
      scenario.runs = value.get<unsigned>();
    } else if (name == "against" && value.is_string()) {
      scenario.against = value.get<std::string>();
    } else if (name == "peers" && value.is_array()) {
      for (const auto& peer : value) {
        if (!peer.is_string()) {
          return bad(origin, "'peers' is no list of names");
        }
        scenario.peers.push_back(peer.get<std::string>());
      }
    } else if (name != "limits" || !value.is_array()) {
      return bad(origin, fmt::format("member '{}' is unknown or of the wrong type", name));
    }
  }
  if (scenario.name.empty() || !scenario.options.is_object()) {
    return bad(origin, "needs 'name' and 'options'");
  }
  GODWIT_TRY(check_options(scenario.options, origin));
  GODWIT_TRY(check_surroundings(scenario, origin));
  if (json.contains("limits")) {
    for (const auto& entry : json.at("limits")) {
      GODWIT_TRY_ASSIGN(auto limit, parse_limit(entry, !scenario.against.empty(), origin));
      scenario.limits.push_back(std::move(limit));
    }
  }
  return scenario;
}

Result<std::vector<std::filesystem::path>> Library::files() const {
  std::error_code error;
  std::vector<std::filesystem::path> found;
  for (std::filesystem::recursive_directory_iterator it(directory_, error), end;
       !error && it != end;
       it.increment(error)) {
    if (it->path().extension() == ".json") {
      found.push_back(it->path());
    }
  }
  if (error) {
    return fail_errno(error.value(), "scenarios", directory_.string());
  }
  return found;
}

Result<Json> Library::load(const std::string& name, std::string& path) const {
  const std::filesystem::path given(name);
  if (given.extension() == ".json") {
    path = std::filesystem::exists(given) ? name : "";
  } else {
    GODWIT_TRY_ASSIGN(const auto all, files());
    const auto found =
        std::find_if(all.begin(), all.end(), [&](const auto& file) { return file.stem() == name; });
    path = found == all.end() ? "" : found->string();
  }
  if (path.empty()) {
    return fail(ErrorCode::kInvalidArgument,
                "scenario",
                fmt::format("there is no '{}'; 'godwit-lab list' shows what there is", name));
  }
  return parse_file(path);
}

Result<Scenario> Library::scenario(const std::string& name) const {
  std::string path;
  GODWIT_TRY_ASSIGN(const auto json, load(name, path));
  if (json.contains("scenarios")) {
    return bad(path, "is a set of scenarios; one scenario is needed here");
  }
  return parse_scenario(json, path);
}

Result<std::vector<Scenario>> Library::scenarios(const std::string& name) const {
  std::string path;
  GODWIT_TRY_ASSIGN(const auto json, load(name, path));
  std::vector<Scenario> found;
  if (!json.contains("scenarios")) {
    GODWIT_TRY_ASSIGN(auto scenario, parse_scenario(json, path));
    found.push_back(std::move(scenario));
    return found;
  }
  if (!json.at("scenarios").is_array() || json.at("scenarios").empty()) {
    return bad(path, "'scenarios' is no list of names");
  }
  for (const auto& entry : json.at("scenarios")) {
    if (!entry.is_string()) {
      return bad(path, "'scenarios' is no list of names");
    }
    GODWIT_TRY_ASSIGN(auto one, scenario(entry.get<std::string>()));
    found.push_back(std::move(one));
  }
  return found;
}

Result<std::vector<std::string>> Library::list() const {
  GODWIT_TRY_ASSIGN(const auto all, files());
  std::vector<std::string> lines;
  for (const auto& file : all) {
    GODWIT_TRY_ASSIGN(const auto json, parse_file(file));
    lines.push_back(fmt::format("{:<16} {}{}",
                                file.stem().string(),
                                json.contains("scenarios") ? "(set) " : "",
                                text_at(json, "/description")));
  }
  std::sort(lines.begin(), lines.end());
  return lines;
}

Status set_members(Scenario& scenario, const std::vector<std::string>& texts) {
  constexpr std::string_view kLink = "link.";
  constexpr std::string_view kLoad = "load.";
  for (const auto& text : texts) {
    const auto equals = text.find('=');
    const auto name = text.substr(0, equals);
    const auto value = equals == std::string::npos ? "" : text.substr(equals + 1);
    if (equals != std::string::npos && name.starts_with(kLink)) {
      GODWIT_TRY(set_link_member(scenario.link, name.substr(kLink.size()), value));
    } else if (equals != std::string::npos && name.starts_with(kLoad)) {
      set_load_member(scenario.load, name.substr(kLoad.size()), value);
    } else if (equals != std::string::npos && name == "user") {
      scenario.user = value;
    } else {
      GODWIT_TRY(set_option(scenario.options, text));
    }
  }
  return check_surroundings(scenario, scenario.name);
}

Status set_option(Json& options, const std::string& text) {
  const auto equals = text.find('=');
  if (equals == 0 || equals == std::string::npos) {
    return bad(text, "an option is given as KEY=VALUE");
  }
  const auto value = text.substr(equals + 1);
  Json one = value;
  if (value == "true" || value == "false") {
    one = value == "true";
  }
  const auto key = text.substr(0, equals);
  options[key] = one;
  return check_options(options, text);
}

}  // namespace godwit::lab
