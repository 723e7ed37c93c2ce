#include "qemu/qemu_peer.h"

#include <array>
#include <charconv>

#include <fmt/format.h>

#include "ground/process.h"
#include "qemu/qemu_process.h"

namespace godwit::lab {
namespace {

constexpr unsigned kChannelsMax = 64;
constexpr std::array kWanted{"events", "multifd", "postcopy-ram", "postcopy-preempt"};

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
  constexpr std::string_view kMultifd = "multifd-";
  if (name.substr(0, kMultifd.size()) == kMultifd) {
    const auto number = name.substr(kMultifd.size());
    const auto* end = number.data() + number.size();
    const auto parsed = std::from_chars(number.data(), end, mode.channels);
    if (parsed.ec == std::errc() && parsed.ptr == end && mode.channels >= 1 &&
        mode.channels <= kChannelsMax) {
      return mode;
    }
  }
  return fail(ErrorCode::kInvalidArgument,
              "peer",
              fmt::format("QEMU has no mode '{}'; there are precopy, multifd-N (1 to {}), postcopy "
                          "and postcopy-preempt",
                          name,
                          kChannelsMax));
}

std::vector<QemuMode> all_qemu_modes() {
  return {{"precopy", 0, false, false},
          {"multifd-2", 2, false, false},
          {"multifd-4", 4, false, false},
          {"postcopy", 0, true, false},
          {"postcopy-preempt", 0, true, true}};
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
  peer.version = fmt::format("{}.{}.{}",
                             number_at(greeting, "/version/qemu/major"),
                             number_at(greeting, "/version/qemu/minor"),
                             number_at(greeting, "/version/qemu/micro"));
  for (const auto* name : kWanted) {
    const Json one{{"capability", name}, {"state", true}};
    const auto set =
        qmp.execute("migrate-set-capabilities", {{"capabilities", Json::array({one})}});
    if (set) {
      peer.capabilities.insert(name);
    } else if (set.error().code == ErrorCode::kRefused) {
      peer.refused.push_back(fmt::format("{}: {}", name, set.error().detail));
    } else {
      return fail(set.error());
    }
  }
  return peer;
}

std::string why_not(const QemuPeer& peer, const QemuMode& mode) {
  for (const auto& name : mode.capabilities()) {
    if (peer.capabilities.count(name) != 0) {
      continue;
    }
    auto reason = fmt::format("QEMU {} lacks the capability {}", peer.version, name);
    for (const auto& refused : peer.refused) {
      if (refused.rfind(name + ":", 0) == 0) {
        reason += fmt::format(" ({})", refused);
      }
    }
    return reason;
  }
  return {};
}

}  // namespace godwit::lab
