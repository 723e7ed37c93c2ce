#include "qemu/qemu_figures.h"

#include <fmt/format.h>

#include "godwit/vmm/throughput.h"

namespace godwit::lab {
namespace {

using vmm::Throughput;

/// The blackout is what the guest saw of it: QEMU does not tell when it stops and starts it.
void note_timeline(const QemuCourse& course, const QemuPlan& plan, PeerRun& run) {
  const auto& book = course.doorbells;
  const auto began_ns = course.began_ns;
  const auto stopped_ns = book.stamps(End::kSource).back();
  const auto resumed_ns = book.stamps(End::kTarget).front();
  // Of the last step's interval and the one before it the guest may not have told all.
  const auto seen = book.throughput(Throughput::number_of(began_ns - kTimelineLeadNs),
                                    Throughput::number_of(book.stamps(End::kTarget).back()) - 1);
  run.report["guest"] = {{"workload", vmm::workload_name(plan.options.guest.workload)}};
  run.report["timeline"] = {{"interval_ns", Throughput::kIntervalNs},
                            {"start_ns", seen.first * Throughput::kIntervalNs - began_ns},
                            {"touches", seen.touches}};
  auto phases = Json::array();
  const auto add = [&](const char* name, std::int64_t from_ns, std::int64_t to_ns) {
    if (from_ns < to_ns) {
      phases.push_back({{"name", name}, {"start_ns", from_ns}, {"end_ns", to_ns}});
    }
  };
  add("precopy", 0, stopped_ns - began_ns);
  add("blackout", stopped_ns - began_ns, resumed_ns - began_ns);
  add("postcopy", resumed_ns - began_ns, course.total_ns);
  run.report["phases"] = std::move(phases);
  const auto figures = vmm::figures_of(seen,
                                       {.began_ns = began_ns,
                                        .blackout_end_ns = resumed_ns,
                                        .ended_ns = began_ns + course.total_ns});
  if (figures.recovery_ns) {
    run.figures["recovery_ns"] = *figures.recovery_ns;
  }
  if (figures.valley) {
    run.figures["valley"] = *figures.valley;
  }
}

/// What the reader must know of this run.
Json notes_of(const QemuPlan& plan, const PeerNetwork& network, double requests) {
  auto notes = Json::array();
  if (!network.note.empty()) {
    notes.push_back(network.note);
  }
  if (plan.options.prealloc && plan.mode.postcopy) {
    notes.push_back("memory is not populated beforehand: post-copy would discard it");
  }
  if (plan.mode.postcopy && !plan.writes()) {
    notes.push_back(fmt::format(
        "the guest does not write: post-copy from the start, {} page requests", requests));
  }
  return notes;
}

}  // namespace

void note_course(const QemuCourse& course,
                 const QemuPlan& plan,
                 const PeerNetwork& network,
                 PeerRun& run) {
  const bool postcopy = plan.mode.postcopy;
  auto& figures = run.figures;
  figures["total_ns"] = course.total_ns;
  figures.update(qemu_figures(course.answer));
  figures["guest_gap_ns"] = course.doorbells.gap_ns();
  figures["largest_stall_ns"] = course.doorbells.largest_stall_ns(course.began_ns, INT64_MAX);
  figures["cpu_source_ns"] = course.cpu_source_ns;
  figures["cpu_target_ns"] = course.cpu_target_ns;
  if (plan.options.timeline) {
    note_timeline(course, plan, run);
  }
  const auto requests = number_at(course.answer, "/ram/postcopy-requests");
  auto& report = run.report["qemu"];
  report["parameters"] = plan.parameters();
  report["capabilities"] = plan.mode.capabilities();
  report["switch_after_rounds"] = postcopy ? Json(plan.switch_after()) : Json();
  report["prealloc"] = plan.prealloc();
  report["congestion"] = network.congestion;
  report["own_network"] = network.name_space.valid();
  report["page_requests"] = requests;
  // The figure counts from the start of the process, as godwit's does.
  report["cpu_target_before_ns"] = course.cpu_target_before_ns;
  report["steps"] = course.doorbells.steps();
  report["query_migrate"] = course.answer;
  report["notes"] = notes_of(plan, network, requests);
  if (postcopy && !course.in_postcopy) {
    run.reason = "pre-copy converged before post-copy could begin";
  } else if (postcopy && plan.writes() && requests <= static_cast<double>(kPageRequestsMin)) {
    run.reason = fmt::format("only {} page requests: no post-copy to speak of", requests);
  }
}

Json qemu_figures(const Json& query_migrate) {
  auto figures = Json::object();
  const auto take = [&](const char* name, const char* pointer, double factor) {
    if (const auto value = number_at(query_migrate, pointer, -1); value >= 0) {
      figures[name] = value * factor;
    }
  };
  take("downtime_ns", "/downtime", 1e6);
  take("wire_bytes", "/ram/transferred", 1);
  return figures;
}

}  // namespace godwit::lab
