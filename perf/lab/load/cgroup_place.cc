#include "load/cgroup_place.h"

#include <algorithm>
#include <sstream>

namespace godwit::lab {
namespace {

std::vector<std::string> split(std::string_view text, char at) {
  std::vector<std::string> parts;
  std::istringstream in{std::string(text)};
  for (std::string part; std::getline(in, part, at);) {
    parts.push_back(part);
  }
  return parts;
}

bool has(const std::vector<std::string>& parts, const char* one) {
  return std::find(parts.begin(), parts.end(), one) != parts.end();
}

/// A mounted hierarchy, and which part of it is seen there.
struct Mount {
  std::string root;
  std::string point;
};

/// The mounts of one kind: "cgroup" with the controller `cpu`, or "cgroup2".
std::vector<Mount> mounts_of(std::string_view mountinfo, bool unified) {
  std::vector<Mount> found;
  for (const auto& line : split(mountinfo, '\n')) {
    const auto dash = line.find(" - ");
    const auto fields = split(line.substr(0, dash), ' ');
    if (dash == std::string::npos || fields.size() < 5) {
      continue;
    }
    const auto kind = split(line.substr(dash + 3), ' ');
    if (kind.size() < 3 || kind[0] != (unified ? "cgroup2" : "cgroup") ||
        (!unified && !has(split(kind[2], ','), "cpu"))) {
      continue;
    }
    found.push_back({fields[3], fields[4]});
  }
  return found;
}

/// This process's group of that kind; empty = it has none.
std::string group_of(std::string_view groups, bool unified) {
  for (const auto& line : split(groups, '\n')) {
    const auto first = line.find(':');
    const auto second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) {
      continue;
    }
    const auto controllers = line.substr(first + 1, second - first - 1);
    if (unified ? controllers.empty() : has(split(controllers, ','), "cpu")) {
      return line.substr(second + 1);
    }
  }
  return {};
}

/// "/a/b" as seen from a mount of "/a": "/b". The mount itself where the group lies outside of it.
std::string seen_from(const std::string& root, const std::string& group) {
  if (root == "/") {
    return group == "/" ? "" : group;
  }
  const bool below = group.size() > root.size() && group.compare(0, root.size(), root) == 0 &&
                     group[root.size()] == '/';
  return below ? group.substr(root.size()) : "";
}

}  // namespace

std::vector<CgroupPlace> cgroup_places(std::string_view mountinfo, std::string_view groups) {
  std::vector<CgroupPlace> places;
  if (const auto own = group_of(groups, false); !own.empty()) {
    for (const auto& mount : mounts_of(mountinfo, false)) {
      places.push_back({mount.point + seen_from(mount.root, own), false});
    }
  }
  if (const auto own = group_of(groups, true); !own.empty()) {
    for (const auto& mount : mounts_of(mountinfo, true)) {
      auto inside = seen_from(mount.root, own);
      for (; !inside.empty(); inside.erase(inside.rfind('/'))) {
        places.push_back({mount.point + inside, true});
      }
      places.push_back({mount.point, true});
    }
  }
  return places;
}

}  // namespace godwit::lab
