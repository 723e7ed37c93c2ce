#include "demo/plant.h"

#include "godwit/vmm/damage.h"

namespace godwit::app {

Result<Plant> plan_plant(const vmm::GuestConfig& config, const PlantedFault& planted) {
  Plant plant;
  plant.fault = planted.fault;
  plant.delay_ns = planted.delay_ns;
  switch (planted.fault) {
    case PlantedKind::kFlipBit:
    case PlantedKind::kDropPage: {
      GODWIT_TRY_ASSIGN(plant.page, vmm::page_to_damage(config));
      break;
    }
    case PlantedKind::kStalePage: {
      GODWIT_TRY_ASSIGN(plant.candidates, vmm::pages_to_lose(config));
      break;
    }
    default:
      break;
  }
  return plant;
}

}  // namespace godwit::app
