#include "demo/injection.h"

#include "godwit/vmm/damage.h"

namespace godwit::app {

Result<engine::Injection> plan_injection(const vmm::GuestConfig& config, const PlantedFault& spec) {
  engine::Injection injection;
  injection.fault = spec.fault;
  injection.delay_ns = spec.delay_ns;
  switch (spec.fault) {
    case engine::InjectedFault::kFlipBit:
    case engine::InjectedFault::kDropPage: {
      GODWIT_TRY_ASSIGN(injection.page, vmm::page_to_damage(config));
      break;
    }
    case engine::InjectedFault::kStalePage: {
      GODWIT_TRY_ASSIGN(injection.candidates, vmm::pages_to_lose(config));
      break;
    }
    default:
      break;
  }
  return injection;
}

}  // namespace godwit::app
