#include "rows/run_groups.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <set>

#include <fmt/format.h>

namespace godwit::lab {
namespace {

std::string text_of(const Json& value) {
  return plain_text(value);
}

std::string mode_of(const RunRow& run) {
  const auto reported = run.report.is_object() ? text_at(run.report, "/mode") : std::string();
  if (!reported.empty()) {
    return reported;
  }
  const auto options = options_of(run);
  const auto asked = options.find("mode");
  return asked != options.end() ? asked->second : "hybrid";
}

std::string link_text(const Json& link) {
  if (!link.is_object()) {
    return {};
  }
  std::string text = "link";
  const auto add = [&](const std::string& part) { text += (text == "link" ? " " : ", ") + part; };
  if (const auto bits = number_at(link, "/bandwidth_bits_per_s"); bits > 0) {
    add(bits >= 1e9 ? fmt::format("{:g} Gbit/s", bits / 1e9)
                    : fmt::format("{:g} Mbit/s", bits / 1e6));
  }
  if (const auto delay = number_at(link, "/delay_us"); delay > 0) {
    add(fmt::format("round trip {:g} us", delay));
  }
  if (const auto jitter = number_at(link, "/jitter_us"); jitter > 0) {
    add(fmt::format("jitter {:g} us", jitter));
  }
  if (const auto loss = number_at(link, "/loss"); loss > 0) {
    add(fmt::format("loss {:g}", loss));
  }
  return text;
}

std::string load_text(const Json& load) {
  std::string text;
  if (const auto busy = number_at(load, "/busy"); busy > 0) {
    text = fmt::format("{} busy loop{}", busy, busy > 1 ? "s" : "");
  }
  if (const auto percent = number_at(load, "/cpu_quota_percent"); percent > 0) {
    text += fmt::format("{}CPU quota {} %", text.empty() ? "" : ", ", percent);
  }
  return text;
}

}  // namespace

std::string RunGroup::label() const {
  return detail.empty() ? series : series + ", " + detail;
}

std::vector<Sample> RunGroup::samples() const {
  std::vector<Sample> samples;
  for (const auto* run : runs) {
    samples.push_back(run->figures);
  }
  return samples;
}

const RunRow& RunGroup::typical() const {
  auto sorted = runs;
  std::stable_sort(sorted.begin(), sorted.end(), [](const RunRow* a, const RunRow* b) {
    return number_at(a->figures, "/total_ns") < number_at(b->figures, "/total_ns");
  });
  return *sorted[(sorted.size() - 1) / 2];
}

std::string series_of(const RunRow& run) {
  if (!run.peer.is_object()) {
    return "godwit " + mode_of(run);
  }
  // Versions of one peer are columns of their own.
  const auto version = text_at(run.peer, "/version");
  return fmt::format("{}{} {}",
                     text_at(run.peer, "/name"),
                     version.empty() ? "" : " " + version,
                     text_at(run.peer, "/mode"));
}

std::string detail_of(const RunRow& run) {
  std::string text;
  for (const auto& [name, value] : run.swept.items()) {
    // The mode is in the series; what is swept of link, load and user is in texts of their own.
    if (name != "mode" && name != "user" && !name.starts_with("link") &&
        !name.starts_with("load")) {
      text += fmt::format("{}{}={}", text.empty() ? "" : " ", name, text_of(value));
    }
  }
  for (const auto& around :
       {link_text(run.link), load_text(run.load), run.user.empty() ? "" : "user " + run.user}) {
    text += (text.empty() || around.empty() ? "" : ", ") + around;
  }
  return text;
}

std::string point_key(const RunRow& run) {
  Json key;
  key["scenario"] = run.scenario;
  key["side"] = run.side;
  key["swept"] = run.swept;
  key["link"] = run.link;
  key["load"] = run.load;
  key["user"] = run.user;
  key["peer"] = run.peer.is_object() ? Json(series_of(run)) : Json(nullptr);
  return json_text(key);
}

Json machine_of(const RunRow& run) {
  auto host = run.host;
  host.erase("load_1min");
  return host;
}

std::vector<RunGroup> groups_of(std::span<const RunRow> runs) {
  std::set<std::string> commits;
  std::vector<RunGroup> groups;
  std::map<std::string, std::size_t> places;
  for (const auto& run : runs) {
    commits.insert(run.commit);
    const auto [place, is_new] =
        places.try_emplace(point_key(run) + run.commit + json_text(run.peer), groups.size());
    if (is_new) {
      groups.push_back({run.scenario, series_of(run), detail_of(run), {}, {}});
    }
    auto& group = groups[place->second];
    (run.verified ? group.runs : group.failed).push_back(&run);
  }
  // `compare` calls its sides "a" and "b"; beside a peer, "a" alone says nothing.
  const bool sides =
      std::any_of(runs.begin(), runs.end(), [](const RunRow& run) { return run.side == "b"; });
  for (auto& group : groups) {
    const auto& side = group.any().side;
    if (sides && (side == "a" || side == "b")) {
      group.series.insert(0, side + ": ");
    }
    if (commits.size() > 1) {
      const auto& commit = group.any().commit;
      group.series += " @" + (commit.empty() ? "unknown" : commit);
    }
  }
  return groups;
}

std::map<std::string, std::string> options_of(const RunRow& run) {
  std::map<std::string, std::string> options;
  const auto& words = run.command;
  for (std::size_t i = 2; !run.peer.is_object() && i < words.size(); ++i) {
    if (words[i].compare(0, 2, "--") != 0) {
      continue;
    }
    auto name = words[i].substr(2);
    std::replace(name.begin(), name.end(), '-', '_');
    const bool has_value = i + 1 < words.size() && words[i + 1].compare(0, 2, "--") != 0;
    options[name] = has_value ? words[i + 1] : "true";
  }
  for (const auto& [name, value] : run.swept.items()) {
    options[name] = text_of(value);
  }
  return options;
}

std::optional<double> bytes_of(const std::string& text) {
  struct Suffix {
    const char* text;
    double factor;
  };
  static constexpr std::array<Suffix, 5> kSuffixes{{{"", 1},
                                                    {"KiB", 1024.0},
                                                    {"MiB", 1024.0 * 1024},
                                                    {"GiB", 1024.0 * 1024 * 1024},
                                                    {"TiB", 1024.0 * 1024 * 1024 * 1024}}};
  std::uint64_t count = 0;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), count);
  if (read.ec != std::errc()) {
    return std::nullopt;
  }
  const std::string_view rest(read.ptr,
                              static_cast<std::size_t>(text.data() + text.size() - read.ptr));
  for (const auto& suffix : kSuffixes) {
    if (rest == suffix.text) {
      return static_cast<double>(count) * suffix.factor;
    }
  }
  return std::nullopt;
}

}  // namespace godwit::lab
