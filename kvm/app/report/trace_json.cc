#include "report/trace_json.h"

#include <algorithm>
#include <array>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "godwit/base/clock.h"

namespace godwit::app {
namespace {

constexpr double kNsPerUs = 1000.0;

/// Tracks within a process. Faults that are open at once take one track each, from kFaults on.
enum Track : std::uint32_t { kStates = 1, kCourse = 2, kFaults = 3 };

double microseconds(std::int64_t ns) {
  return static_cast<double>(ns) / kNsPerUs;
}

/// Collects the events of one side.
class Events {
 public:
  /// `began_ns`: where the trace begins; metadata events stand there.
  Events(int process, const char* name, std::int64_t began_ns)
      : process_(process), began_ns_(began_ns) {
    metadata("process_name", kStates, "name", name);
    metadata("process_sort_index", kStates, "sort_index", process);
  }

  void name_track(std::uint32_t track, const std::string& name) {
    metadata("thread_name", track, "name", name);
    metadata("thread_sort_index", track, "sort_index", track);
  }
  void slice(std::uint32_t track,
             std::string_view name,
             std::int64_t began_ns,
             std::int64_t ended_ns,
             Json arguments = Json::object()) {
    slices_[track].push_back(
        {std::string(name), began_ns, std::max(began_ns, ended_ns), std::move(arguments)});
  }
  void counter(std::string_view name, std::int64_t at_ns, const char* unit, std::uint64_t value) {
    auto event = make("C", name, kStates, at_ns);
    event["args"][unit] = value;
    events_.push_back(std::move(event));
  }
  /// Each state until the next one.
  void states(const std::vector<engine::TraceState>& states, std::int64_t ended_ns) {
    name_track(kStates, "state machine");
    for (std::size_t i = 0; i < states.size(); ++i) {
      const auto next_ns = i + 1 < states.size() ? states[i + 1].began_ns : ended_ns;
      slice(kStates, states[i].name, states[i].began_ns, next_ns);
    }
  }
  Json take() {
    for (auto& [track, slices] : slices_) {
      nest(track, slices);
    }
    return std::move(events_);
  }

 private:
  struct Slice {
    std::string name;
    std::int64_t began_ns = 0;
    std::int64_t ended_ns = 0;
    Json arguments;
  };

  /// Writes the beginnings and ends of a track's slices. Not one event with a duration each: where
  /// one slice ends and the next begins both would have to come to the same number, and the sum of
  /// two fractions often is another by its last bit. A viewer that compares them drops a slice
  /// then.
  void nest(std::uint32_t track, std::vector<Slice>& slices) {
    // Of two that begin together the longer one is the outer one.
    std::ranges::stable_sort(slices, [](const Slice& a, const Slice& b) {
      return a.began_ns != b.began_ns ? a.began_ns < b.began_ns : a.ended_ns > b.ended_ns;
    });
    std::vector<const Slice*> open;
    const auto close_until = [&](std::int64_t ns) {
      while (!open.empty() && open.back()->ended_ns <= ns) {
        border("E", *open.back(), track, open.back()->ended_ns);
        open.pop_back();
      }
    };
    for (const auto& slice : slices) {
      close_until(slice.began_ns);
      border("B", slice, track, slice.began_ns);
      open.push_back(&slice);
    }
    close_until(INT64_MAX);
  }
  /// Both borders carry the arguments: some viewers tell slices apart by them.
  void border(const char* kind, const Slice& slice, std::uint32_t track, std::int64_t at_ns) {
    auto event = make(kind, slice.name, track, at_ns);
    if (!slice.arguments.empty()) {
      event["args"] = slice.arguments;
    }
    events_.push_back(std::move(event));
  }

  Json make(const char* kind, std::string_view name, std::uint32_t track, std::int64_t at_ns) {
    Json event;
    event["ph"] = kind;
    event["name"] = name;
    event["pid"] = process_;
    event["tid"] = track;
    event["ts"] = microseconds(at_ns);
    return event;
  }
  template <typename Value>
  void metadata(const char* what, std::uint32_t track, const char* member, const Value& value) {
    auto event = make("M", what, track, began_ns_);
    event["args"][member] = value;
    events_.push_back(std::move(event));
  }

  const int process_;
  const std::int64_t began_ns_;
  std::map<std::uint32_t, std::vector<Slice>> slices_;  ///< by track
  Json events_ = Json::array();
};

Json document(Json events, const char* side, Json about) {
  Json json;
  json["displayTimeUnit"] = "ms";
  json["otherData"][side] = std::move(about);
  json["traceEvents"] = std::move(events);
  return json;
}

void add_rounds(Events& events, const engine::MigrationReport& report) {
  const auto shown = std::min(report.rounds.size(), kTraceRounds);
  for (std::size_t i = 0; i < shown; ++i) {
    const auto& round = report.rounds[i];
    Json arguments;
    arguments["pages"] = round.pages;
    arguments["bytes"] = round.bytes;
    arguments["dirtied_pages"] = round.dirtied_pages;
    arguments["dirtied_pages_per_s"] = round.ns > 0 ? static_cast<double>(round.dirtied_pages) *
                                                          1e9 / static_cast<double>(round.ns)
                                                    : 0.0;
    events.slice(kCourse,
                 fmt::format("round {}", i + 1),
                 round.began_ns,
                 round.began_ns + round.ns,
                 std::move(arguments));
  }
}

/// The blackout and its parts, end to end as in the report: by the source's clock it cannot be told
/// where within state_transfer the target loaded the state.
void add_blackout(Events& events, const engine::MigrationReport& report) {
  const auto& parts = report.parts;
  auto at_ns = report.stopped.last_ns;
  events.slice(kCourse, "blackout", at_ns, at_ns + report.downtime_ns);
  const std::array<std::pair<const char*, std::int64_t>, 6> named{
      {{"quiesce", parts.quiesce},
       {"final_sync", parts.final_sync},
       {"state_save", parts.state_save},
       {"state_transfer", parts.state_transfer},
       {"state_load", parts.state_load},
       {"resume", parts.resume}}};
  for (const auto& [name, ns] : named) {
    events.slice(kCourse, name, at_ns, at_ns + ns);
    at_ns += ns;
  }
}

/// The phases as the report has them. A migration that did not complete shows how far it came.
void add_course(Events& events, const engine::MigrationReport& report) {
  events.name_track(kCourse, "migration");
  const auto& trace = report.trace;
  const bool rounds_began = trace.precopy_began_ns != 0;
  const bool moved = report.downtime_ns != 0;
  events.slice(
      kCourse, "setup", trace.began_ns, rounds_began ? trace.precopy_began_ns : trace.ended_ns);
  if (rounds_began) {
    events.slice(kCourse,
                 "precopy",
                 trace.precopy_began_ns,
                 moved ? report.stopped.last_ns : trace.ended_ns);
  }
  if (moved) {
    add_blackout(events, report);
    events.slice(kCourse, "postcopy", report.stopped.last_ns + report.downtime_ns, trace.ended_ns);
  }
  add_rounds(events, report);
}

/// Faults that are open at once each need a track of their own.
void add_faults(Events& events, std::span<const engine::TraceFault> faults) {
  std::vector<std::int64_t> free_after_ns;  // by track
  for (const auto& fault : faults) {
    const auto found = std::ranges::find_if(
        free_after_ns, [&](std::int64_t ended_ns) { return ended_ns < fault.read_ns; });
    const auto lane = static_cast<std::uint32_t>(found - free_after_ns.begin());
    if (found == free_after_ns.end()) {
      free_after_ns.push_back(0);
      events.name_track(kFaults + lane,
                        lane == 0 ? "faults" : fmt::format("faults, {} at once", lane + 1));
    }
    free_after_ns[lane] = fault.woken_ns;
    Json arguments;
    arguments["region"] = fault.page.region;
    arguments["page"] = fault.page.index;
    events.slice(kFaults + lane, "fault", fault.read_ns, fault.woken_ns, std::move(arguments));
  }
}

}  // namespace

void ProgressSamples::add(const ProgressSample& sample) {
  if (offered_++ % every_ != 0) {
    return;
  }
  if (taken_.size() == kMost) {
    std::size_t kept = 0;
    for (std::size_t i = 0; i < taken_.size(); i += 2) {
      taken_[kept++] = taken_[i];
    }
    taken_.resize(kept);
    every_ *= 2;
  }
  taken_.push_back(sample);
}

Json source_trace_json(const engine::MigrationReport& report,
                       const std::vector<ProgressSample>& samples) {
  const auto& trace = report.trace;
  Events events(1, "source", trace.began_ns);
  events.states(trace.states, trace.ended_ns);
  add_course(events, report);
  for (const auto& sample : samples) {
    events.counter("bytes sent", sample.at_ns, "bytes", sample.sent_bytes);
    events.counter("pages remaining", sample.at_ns, "pages", sample.remaining_pages);
  }
  Json about;
  about["boot_id"] = boot_id();
  about["rounds_dropped"] = report.rounds.size() - std::min(report.rounds.size(), kTraceRounds);
  about["target_clock"] = nullptr;
  if (trace.target_clock.known) {
    about["target_clock"] = Json::object();
    about["target_clock"]["ahead_ns"] = trace.target_clock.ahead_ns;
    about["target_clock"]["error_ns"] = trace.target_clock.error_ns;
  }
  return document(events.take(), "source", std::move(about));
}

Json target_trace_json(const engine::TargetTrace& trace) {
  const auto began_ns = trace.states.empty() ? trace.ended_ns : trace.states.front().began_ns;
  Events events(2, "target", began_ns);
  events.states(trace.states, trace.ended_ns);
  events.name_track(kCourse, "guest");
  if (trace.load_ended_ns != 0) {
    events.slice(kCourse, "state_load", trace.load_began_ns, trace.load_ended_ns);
  }
  if (trace.run_ended_ns != 0) {
    // Until the guest runs, which may be before or after the call returns.
    events.slice(kCourse,
                 "resume",
                 trace.run_began_ns,
                 trace.first_run_ns != 0 ? trace.first_run_ns : trace.run_ended_ns);
  }
  add_faults(events, trace.faults);
  Json about;
  about["boot_id"] = boot_id();
  about["faults_shown"] = trace.faults.size();
  about["faults_dropped"] = trace.faults_dropped;
  return document(events.take(), "target", std::move(about));
}

Json merge_traces(Json source, const Json& target) {
  const auto clock = object_of(object_of(object_of(source, "otherData"), "source"), "target_clock");
  const auto ahead_us = microseconds(number_of(clock, "ahead_ns"));
  const auto about = object_of(object_of(target, "otherData"), "target");
  if (!about.empty()) {
    source["otherData"]["target"] = about;
  }
  const auto events = target.find("traceEvents");
  if (events == target.end() || !events->is_array()) {
    return source;
  }
  for (auto event : *events) {
    event["ts"] = number_of<double>(event, "ts") - ahead_us;
    source["traceEvents"].push_back(std::move(event));
  }
  return source;
}

}  // namespace godwit::app
