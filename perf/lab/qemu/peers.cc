#include "qemu/peers.h"

#include <algorithm>
#include <memory>
#include <utility>

#include <fmt/format.h>

#include "link/private_network.h"
#include "qemu/guest_options.h"
#include "qemu/programs.h"
#include "qemu/qemu_run.h"

namespace godwit::lab {
namespace {

constexpr std::string_view kQemu = "qemu";

/// `version` and `mode`: texts; null = all of them.
Status leave_out(const Json& version,
                 const Json& mode,
                 const std::string& reason,
                 Results& results) {
  fmt::print(stderr,
             "left out: qemu{}{}: {}\n",
             version.is_null() ? "" : " " + plain_text(version),
             mode.is_null() ? "" : " " + plain_text(mode),
             reason);
  Json row;
  row["peer"] = {{"name", kQemu}, {"version", version}, {"mode", mode}};
  row["reason"] = reason;
  return results.write("left_out", row);
}

/// One way of QEMU to migrate one point of a scenario.
class QemuSide final : public Peer {
 public:
  QemuSide(QemuPeer program, QemuPlan plan)
      : program_(std::move(program)), plan_(std::move(plan)) {}
  [[nodiscard]] std::string name() const override {
    return fmt::format("qemu {} {}", program_.version(), plan_.mode.name);
  }
  [[nodiscard]] PeerRun run(const PeerPlace& place) const override {
    return run_qemu(program_, plan_, place);
  }

 private:
  QemuPeer program_;
  QemuPlan plan_;
};

}  // namespace

Result<std::vector<QemuMode>> parse_peers(const std::vector<std::string>& names) {
  std::vector<QemuMode> modes;
  const auto add = [&modes](QemuMode mode) {
    const auto same = [&mode](const QemuMode& other) { return other.name == mode.name; };
    if (std::none_of(modes.begin(), modes.end(), same)) {
      modes.push_back(std::move(mode));
    }
  };
  for (const std::string_view name : names) {
    if (name == kQemu) {
      for (auto& mode : all_qemu_modes()) {
        add(std::move(mode));
      }
      continue;
    }
    const auto colon = name.find(':');
    if (colon == std::string_view::npos || name.substr(0, colon) != kQemu) {
      return fail(ErrorCode::kInvalidArgument,
                  "peer",
                  fmt::format("there is no peer '{}'; there is qemu, and qemu:MODE", name));
    }
    GODWIT_TRY_ASSIGN(auto mode, parse_qemu_mode(name.substr(colon + 1)));
    add(std::move(mode));
  }
  return modes;
}

void share_congestion(Point& point) {
  const auto asked = text_at(point.options, "/congestion");
  const auto network = make_peer_network(asked.empty() ? "auto" : asked);
  if (!network.congestion.empty()) {
    point.options["congestion"] = network.congestion;
  }
}

Result<std::vector<FoundPeer>> find_peers(const std::vector<QemuMode>& modes,
                                          const std::vector<std::string>& programs,
                                          int interrupt_fd,
                                          Results& results) {
  std::vector<FoundPeer> found;
  for (const auto& name : programs.empty() ? usual_qemus(qemu_cache()) : programs) {
    auto program = probe_qemu(name, interrupt_fd);
    if (!program && program.error().code == ErrorCode::kCancelled) {
      return fail(program.error());
    }
    if (!program) {
      GODWIT_TRY(leave_out(nullptr, nullptr, program.error().message(), results));
      continue;
    }
    const auto same = [&](const FoundPeer& one) { return one.program.release == program->release; };
    if (std::none_of(found.begin(), found.end(), same)) {
      found.push_back({std::move(*program), {}});
    }
  }
  std::sort(found.begin(), found.end(), [](const FoundPeer& a, const FoundPeer& b) {
    return a.program.release > b.program.release;
  });
  for (auto& peer : found) {
    fmt::print(stderr, "peer: QEMU {}, {}\n", peer.program.version(), peer.program.program);
    for (const auto& mode : modes) {
      if (const auto reason = why_not(peer.program, mode); reason.empty()) {
        peer.modes.push_back(mode);
      } else {
        GODWIT_TRY(leave_out(peer.program.version(), mode.name, reason, results));
      }
    }
  }
  return found;
}

Result<std::vector<Side>> peer_sides(const std::vector<FoundPeer>& peers,
                                     const Point& point,
                                     Results& results) {
  std::vector<Side> sides;
  const auto options = guest_options(point);
  if (!options && options.error().code != ErrorCode::kUnsupported) {
    return fail(options.error());
  }
  if (!options) {
    GODWIT_TRY(leave_out(nullptr, nullptr, options.error().message(), results));
    return sides;
  }
  for (const auto& peer : peers) {
    for (const auto& mode : peer.modes) {
      Side side;
      side.peer = std::make_shared<QemuSide>(peer.program, QemuPlan{mode, *options});
      side.label = side.peer->name();
      side.point = point;
      sides.push_back(std::move(side));
    }
  }
  return sides;
}

}  // namespace godwit::lab
