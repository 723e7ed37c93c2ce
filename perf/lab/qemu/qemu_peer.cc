#include "qemu/qemu_peer.h"

#include <charconv>
#include <set>

#include <fmt/format.h>

#include "ground/process.h"
#include "qemu/qemu_process.h"

namespace godwit::lab {
namespace {

constexpr unsigned kChannelsMax = 64;
/// Older ones refuse it, or take it and cannot do it (7.2).
constexpr std::array kMultifdPostcopySince{10U, 1U, 0U};

std::string together(const std::vector<std::string>& names) {
  return fmt::format("{}", fmt::join(names, ", "));
}

Json states(const std::vector<std::string>& names, bool on) {
  auto list = Json::array();
  for (const auto& name : names) {
    list.push_back({{"capability", name}, {"state", on}});
  }
  return Json::object({{"capabilities", list}});
}

/// Has them all on at once for a moment; a refusal is noted.
Status try_capabilities(Qmp& qmp, const std::vector<std::string>& names, QemuPeer& peer) {
  const auto set = qmp.execute("migrate-set-capabilities", states(names, true));
  if (!set && set.error().code == ErrorCode::kRefused) {
    peer.refused[together(names)] = set.error().detail;
    return {};
  }
  GODWIT_TRY(set);
  GODWIT_TRY(qmp.execute("migrate-set-capabilities", states(names, false)));
  return {};
}

/// The channels of "multifd-N", with `ending` behind it; 0 = it is none.
unsigned channels_of(std::string_view name, std::string_view ending) {
  constexpr std::string_view kMultifd = "multifd-";
  if (!name.starts_with(kMultifd) || !name.ends_with(ending) ||
      name.size() < kMultifd.size() + ending.size()) {
    return 0;
  }
  const auto number = name.substr(kMultifd.size(), name.size() - kMultifd.size() - ending.size());
  unsigned channels = 0;
  const auto* end = number.data() + number.size();
  const auto parsed = std::from_chars(number.data(), end, channels);
  return parsed.ec == std::errc() && parsed.ptr == end && channels <= kChannelsMax ? channels : 0;
}

}  // namespace

std::vector<std::string> QemuMode::capabilities() const {
  std::vector<std::string> names{"events"};
  if (channels != 0) {
    names.emplace_back("multifd");
  }
  if (postcopy) {
    names.emplace_back("postcopy-ram");
  }
  if (preempt) {
    names.emplace_back("postcopy-preempt");
  }
  return names;
}

Result<QemuMode> parse_qemu_mode(std::string_view name) {
  QemuMode mode;
  mode.name = name;
  if (name == "precopy") {
    return mode;
  }
  if (name == "postcopy" || name == "postcopy-preempt") {
    mode.postcopy = true;
    mode.preempt = name == "postcopy-preempt";
    return mode;
  }
  constexpr std::string_view kPostcopy = "-postcopy";
  mode.postcopy = name.ends_with(kPostcopy);
  mode.channels = channels_of(name, mode.postcopy ? kPostcopy : std::string_view());
  if (mode.channels != 0) {
    return mode;
  }
  return fail(
      ErrorCode::kInvalidArgument,
      "peer",
      fmt::format("QEMU has no mode '{}'; there are precopy, multifd-N (1 to {}), postcopy, "
                  "postcopy-preempt and multifd-N-postcopy",
                  name,
                  kChannelsMax));
}

std::vector<QemuMode> all_qemu_modes() {
  return {{"precopy", 0, false, false},
          {"multifd-2", 2, false, false},
          {"multifd-4", 4, false, false},
          {"postcopy", 0, true, false},
          {"postcopy-preempt", 0, true, true},
          {"multifd-4-postcopy", 4, true, false}};
}

std::string QemuPeer::version() const {
  return fmt::format("{}", fmt::join(release, "."));
}

Result<QemuPeer> probe_qemu(const std::string& program, int interrupt_fd) {
  QemuPeer peer;
  peer.program = find_program(program);
  if (peer.program.empty()) {
    return fail(
        ErrorCode::kUnsupported,
        "QEMU",
        fmt::format("there is no '{}'; install Debian's qemu-system-x86 or give --qemu PATH",
                    program));
  }
  GODWIT_TRY_ASSIGN(const auto directory, TemporaryDirectory::create());
  QemuSpec spec;
  spec.program = peer.program;
  spec.name = "probe";
  spec.has_serial = false;
  // As a target without a machine: capabilities that need something of this host are checked then.
  spec.words = {"-machine", "none", "-incoming", "defer"};
  auto started = Qemu::start(spec, directory, interrupt_fd);
  if (!started) {
    auto error = started.error();
    if (error.code != ErrorCode::kCancelled) {
      error.code = ErrorCode::kUnsupported;
    }
    return fail(std::move(error));
  }
  auto& qmp = (*started)->qmp();
  const auto& greeting = qmp.greeting();
  peer.release = {static_cast<unsigned>(number_at(greeting, "/version/qemu/major")),
                  static_cast<unsigned>(number_at(greeting, "/version/qemu/minor")),
                  static_cast<unsigned>(number_at(greeting, "/version/qemu/micro"))};
  GODWIT_TRY(probe_capabilities(qmp, peer));
  return peer;
}

Status probe_capabilities(Qmp& qmp, QemuPeer& peer) {
  std::set<std::string> alone;
  std::set<std::vector<std::string>> sets;
  for (const auto& mode : all_qemu_modes()) {
    const auto names = mode.capabilities();
    alone.insert(names.begin(), names.end());
    sets.insert(names);
  }
  for (const auto& name : alone) {
    GODWIT_TRY(try_capabilities(qmp, {name}, peer));
  }
  for (const auto& names : sets) {
    if (names.size() > 1) {
      GODWIT_TRY(try_capabilities(qmp, names, peer));
    }
  }
  return {};
}

std::string why_not(const QemuPeer& peer, const QemuMode& mode) {
  const auto names = mode.capabilities();
  const auto refused = peer.refused.find(together(names));
  if (refused == peer.refused.end()) {
    if (mode.channels != 0 && mode.postcopy && peer.release < kMultifdPostcopySince) {
      return fmt::format("QEMU {} takes multifd with post-copy, which works since {}",
                         peer.version(),
                         fmt::join(kMultifdPostcopySince, "."));
    }
    return {};
  }
  // What it refuses alone for the same reason is what it lacks.
  for (const auto& name : names) {
    const auto alone = peer.refused.find(name);
    if (alone != peer.refused.end() && alone->second == refused->second) {
      return fmt::format("QEMU {} refuses {}: {}", peer.version(), name, alone->second);
    }
  }
  return fmt::format("QEMU {} refuses {}: {}", peer.version(), refused->first, refused->second);
}

}  // namespace godwit::lab
