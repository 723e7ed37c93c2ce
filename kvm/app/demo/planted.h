#pragma once

#include <memory>

#include "godwit/engine/ports/guest.h"
#include "godwit/engine/ports/placing.h"
#include "godwit/engine/ports/transport.h"

#include "demo/plant.h"

/// Faults that a demo plants, as decorators of the engine's ports: the engine knows nothing of them.
/// Two are not here: skip-register is the machine's (vmm), stale-page needs the source's book
/// (engine/core/src/source/planted.h).
namespace godwit::app {

/// drop-page: drops the bytes of one page and says that they were placed.
std::unique_ptr<engine::PagePlacer> drop_page(std::unique_ptr<engine::PagePlacer> placer,
                                              PageId page);

/// A source's guest and transport with one fault between them and the session: flip-bit,
/// blackout-delay, fault-delay, outage, cut-before-commit or cut-after-commit. Any other fault changes
/// nothing. Ownership: refers to both; the session ends first.
class PlantedSource {
 public:
  PlantedSource(engine::SourceGuest& guest, engine::Transport& transport, const Plant& plant);
  ~PlantedSource();
  PlantedSource(const PlantedSource&) = delete;
  PlantedSource& operator=(const PlantedSource&) = delete;
  [[nodiscard]] engine::SourceGuest& guest() const { return *guest_; }
  [[nodiscard]] engine::Transport& transport() const { return *transport_; }

 private:
  class Guest;
  class Transport;
  std::unique_ptr<engine::SourceGuest> guest_;
  std::unique_ptr<engine::Transport> transport_;
};

}  // namespace godwit::app
