#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "godwit/engine/options.h"
#include "godwit/vmm/guest.h"

#include "cli/choices.h"

namespace godwit::app {

/// What the options say of a guest. The three sizes have defaults that depend on each other:
/// finish_guest() puts all of them into `config`.
struct GuestSettings {
  GuestChoice choice = GuestChoice::kAuto;
  std::optional<std::uint64_t> memory_bytes, populated_bytes, working_set_bytes;
  vmm::GuestConfig config;  ///< its kind is decided by resolve_kind()
};

/// How one migration is done: what `migrate` and `demo` ask of the process that runs the guest.
struct MigrationSettings {
  engine::SourceOptions source;  ///< without its injection
  PlantedFault planted;
  std::string congestion = "auto";
  std::optional<TransportChoice> transport;  ///< unset: what the guest's process was started with
  bool floors = false;
  bool timeline = false;
};

}  // namespace godwit::app
