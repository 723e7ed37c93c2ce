#include "support/trace_shape.h"

#include <algorithm>
#include <cstddef>
#include <map>
#include <set>
#include <utility>

#include <gtest/gtest.h>

namespace godwit::test {

std::vector<Slice> slices_of(const Json& trace, int process, const std::string& track) {
  std::set<int> tracks;
  for (const auto& event : trace.at("traceEvents")) {
    if (event.at("name") == "thread_name" && event.at("pid") == process &&
        event.at("args").at("name").get<std::string>().rfind(track, 0) == 0) {
      tracks.insert(event.at("tid").get<int>());
    }
  }
  std::vector<Slice> slices;
  std::map<int, std::vector<std::size_t>> open;
  for (const auto& event : trace.at("traceEvents")) {
    const auto tid = event.at("tid").get<int>();
    if (event.at("pid") != process || tracks.count(tid) == 0) {
      continue;
    }
    const auto at = event.at("ts").get<double>();
    if (event.at("ph") == "B") {
      open[tid].push_back(slices.size());
      slices.push_back({event.at("name").get<std::string>(), at, at, event.value("args", Json())});
    } else if (event.at("ph") == "E") {
      slices.at(open[tid].back()).ended = at;
      open[tid].pop_back();
    }
  }
  std::stable_sort(slices.begin(), slices.end(), [](const Slice& a, const Slice& b) {
    return a.began < b.began;
  });
  return slices;
}

Slice slice_named(const std::vector<Slice>& slices, const std::string& name) {
  const auto is_it = [&](const Slice& slice) { return slice.name == name; };
  EXPECT_EQ(std::count_if(slices.begin(), slices.end(), is_it), 1) << name;
  const auto found = std::find_if(slices.begin(), slices.end(), is_it);
  return found != slices.end() ? *found : Slice{};
}

void expect_trace_shape(const Json& trace) {
  ASSERT_TRUE(trace.is_object());
  ASSERT_TRUE(trace.contains("traceEvents") && trace["traceEvents"].is_array());
  std::set<std::pair<int, int>> named;
  std::map<std::pair<int, int>, std::vector<std::string>> open;
  std::map<std::pair<int, int>, double> last;
  for (const auto& event : trace["traceEvents"]) {
    for (const char* member : {"ph", "name"}) {
      ASSERT_TRUE(event.contains(member) && event[member].is_string()) << event;
    }
    for (const char* member : {"ts", "pid", "tid"}) {
      ASSERT_TRUE(event.contains(member) && event[member].is_number()) << event;
    }
    const std::pair track(event["pid"].get<int>(), event["tid"].get<int>());
    const auto kind = event["ph"].get<std::string>();
    if (kind == "B" || kind == "E") {
      const auto at = event["ts"].get<double>();
      ASSERT_TRUE(last.count(track) == 0 || last[track] <= at) << "goes back: " << event;
      last[track] = at;
      if (kind == "B") {
        open[track].push_back(event["name"].get<std::string>());
      } else {
        ASSERT_FALSE(open[track].empty()) << event;
        ASSERT_EQ(event["name"], open[track].back());
        open[track].pop_back();
      }
    } else if (kind == "C") {
      ASSERT_TRUE(event.contains("args") && event["args"].begin()->is_number()) << event;
    } else {
      ASSERT_EQ(kind, "M") << event;
      if (event["name"] == "thread_name") {
        EXPECT_TRUE(named.insert(track).second) << "two names: " << event;
      }
    }
  }
  for (const auto& [track, slices] : open) {
    EXPECT_EQ(named.count(track), 1U) << "no name: " << track.first << "/" << track.second;
    EXPECT_TRUE(slices.empty()) << slices.back() << " has no end";
  }
}

}  // namespace godwit::test
