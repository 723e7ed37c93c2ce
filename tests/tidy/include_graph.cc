#include "include_graph.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include <fmt/format.h>

namespace godwit::tidy {
namespace {

/// The row whose first word is the innermost folder that holds `path`; null if there is none.
const std::vector<std::string>* row_of(const std::vector<std::vector<std::string>>& rows,
                                       const std::string& path) {
  const std::vector<std::string>* found = nullptr;
  for (const auto& row : rows) {
    if (lies_in(path, row.front()) &&
        (found == nullptr || row.front().size() > found->front().size())) {
      found = &row;
    }
  }
  return found;
}

std::string without_colon(const std::string& word) {
  return ends_with(word, ":") ? word.substr(0, word.size() - 1) : word;
}

/// "engine" of "godwit/engine/ports/memory.h"; empty if it is no public header of ours.
std::string layer_named(const std::string& include) {
  constexpr const char* kOurs = "godwit/";
  if (include.rfind(kOurs, 0) != 0) {
    return {};
  }
  const auto start = std::string(kOurs).size();
  return include.substr(start, include.find('/', start) - start);
}

/// "link" of "engine/core/src/link/greeter.h" in engine/core/src; "." for files beside the rooms.
std::string room_of(const std::string& path, const std::string& folder) {
  const auto inside = path.substr(folder.size() + 1);
  const auto slash = inside.find('/');
  return slash == std::string::npos ? "." : inside.substr(0, slash);
}

/// Where a quoted include of `path` is; empty if it is nowhere that `path` may look.
std::string resolved(const Tree& tree,
                     const std::vector<std::vector<std::string>>& places,
                     const std::string& path,
                     const std::string& include) {
  if (include.find("../") != std::string::npos) {
    return {};
  }
  if (const auto beside = folder_of(path) + "/" + include; tree.has(beside)) {
    return beside;
  }
  const auto* row = row_of(places, path);
  for (std::size_t i = 1; row != nullptr && i < row->size(); ++i) {
    // FOLDER, or FOLDER/NAME/ for what is included as "NAME/...", or =NAME of a file that the build
    // makes.
    const auto& place = (*row)[i];
    if (place == "=" + include) {
      return include;
    }
    const auto whole = ends_with(place, "/") ? place.substr(0, place.size() - 1) : place;
    const auto at = (ends_with(place, "/") ? folder_of(whole) : whole) + "/" + include;
    if (lies_in(at, whole) && tree.has(at)) {
      return at;
    }
  }
  return {};
}

}  // namespace

Problems wrong_arrows(const Tree& tree) {
  Problems problems;
  const auto layers = tree.table("layers");
  for (const auto& path : tree.code()) {
    const auto* layer = row_of(layers, path);
    if (layer == nullptr) {
      problems.push_back(path + " belongs to no layer");
      continue;
    }
    for (const auto& include : tree.includes(path)) {
      const auto name = layer_named(include.name);
      if (!name.empty() && std::find(layer->begin() + 1, layer->end(), name) == layer->end()) {
        problems.push_back(fmt::format(
            "{} includes {}, which {} must not know", path, include.name, layer->front()));
      }
    }
  }
  return problems;
}

Problems headers_out_of_reach(const Tree& tree) {
  Problems problems;
  const auto places = tree.table("private_headers");
  for (const auto& path : tree.code()) {
    for (const auto& include : tree.includes(path)) {
      if (include.quoted && layer_named(include.name).empty() &&
          resolved(tree, places, path, include.name).empty()) {
        problems.push_back(
            fmt::format("{} includes \"{}\", which is neither beside it nor where it may look",
                        path,
                        include.name));
      }
    }
  }
  return problems;
}

Problems own_headers_late(const Tree& tree) {
  Problems problems;
  for (const auto& path : tree.code()) {
    if (!ends_with(path, ".cc")) {
      continue;
    }
    const auto own = name_of(path.substr(0, path.size() - 3)) + ".h";
    const auto includes = tree.includes(path);
    const auto at = std::find_if(includes.begin(), includes.end(), [&](const Include& include) {
      return include.quoted && name_of(include.name) == own;
    });
    if (at != includes.end() && at != includes.begin()) {
      problems.push_back(fmt::format("{} includes \"{}\" late", path, at->name));
    }
  }
  return problems;
}

Problems wrong_rooms(const Tree& tree) {
  Problems problems;
  const auto places = tree.table("private_headers");
  std::map<std::string, std::map<std::string, std::set<std::string>>> folders;
  for (const auto& row : tree.table("rooms")) {
    auto& rooms = folders[row.front()];
    const auto room = without_colon(row.at(1));
    for (std::size_t i = 2; i < row.size(); ++i) {
      if (rooms.count(row[i]) == 0) {
        problems.push_back(
            fmt::format("rooms: {} {} names {}, which is not above it", row.front(), room, row[i]));
      }
    }
    rooms[room] = {row.begin() + 2, row.end()};
  }
  for (const auto& [folder, rooms] : folders) {
    std::set<std::string> seen;
    for (const auto& path : tree.code(folder)) {
      const auto room = room_of(path, folder);
      if (seen.insert(room).second && rooms.count(room) == 0) {
        problems.push_back(fmt::format("{}/{} is missing in rooms", folder, room));
      }
      for (const auto& include : tree.includes(path)) {
        const auto at = include.quoted ? resolved(tree, places, path, include.name) : std::string();
        if (!lies_in(at, folder) || rooms.count(room) == 0) {
          continue;
        }
        const auto other = room_of(at, folder);
        if (other != room && rooms.at(room).count(other) == 0) {
          problems.push_back(fmt::format(
              "{} includes \"{}\", but {} must not know {}", path, include.name, room, other));
        }
      }
    }
    for (const auto& [room, others] : rooms) {
      if (seen.count(room) == 0) {
        problems.push_back(fmt::format("rooms: there is no {}/{}", folder, room));
      }
    }
  }
  return problems;
}

Problems wrong_homes(const Tree& tree) {
  Problems problems;
  for (const auto& row : tree.table("homes")) {
    const auto header = without_colon(row.front());
    std::set<std::string> unused(row.begin() + 1, row.end());
    for (const auto& path : tree.code()) {
      const auto includes = tree.includes(path);
      if (lies_in(path, "tests") ||
          std::none_of(includes.begin(), includes.end(), [&](const Include& include) {
            return include.name == header;
          })) {
        continue;
      }
      const auto home = std::find_if(row.begin() + 1, row.end(), [&](const std::string& place) {
        return lies_in(path, place);
      });
      if (home == row.end()) {
        problems.push_back(fmt::format("{} includes <{}>, whose home it is not", path, header));
      } else {
        unused.erase(*home);
      }
    }
    for (const auto& place : unused) {
      problems.push_back(fmt::format("homes: nothing in {} includes <{}>", place, header));
    }
  }
  return problems;
}

}  // namespace godwit::tidy
