#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "kvm/canaries.h"
#include "kvm/kvm_machine.h"
#include "kvm/state_codec.h"

// What migrates outside of guest memory, by section:
//
//   vcpu       one section a vCPU: its registers
//   machine    which vCPUs have filled their memory
//   telemetry  the step log of all vCPUs
//
// The workload's position in its work is in guest memory, like that of any guest.

namespace godwit::vmm {
namespace {

constexpr const char* kVcpuSection = "vcpu";
constexpr const char* kMachineSection = "machine";
constexpr std::uint32_t kVcpuVersion = 1;
constexpr std::uint32_t kMachineVersion = 1;

}  // namespace

Result<std::vector<engine::StateSection>> KvmMachine::save_state() {
  if (phase_ != Phase::kPaused) {
    return fail(ErrorCode::kState, "save_state", "the machine is not paused");
  }
  std::vector<engine::StateSection> sections;
  StateWriter filled;
  filled.u32(config_.vcpus);
  for (const auto& vcpu : vcpus_) {
    GODWIT_TRY_ASSIGN(const auto state, kvm::VcpuState::capture(vcpu, msrs_));
    engine::StateSection section;
    section.name = kVcpuSection;
    section.instance = vcpu.index();
    section.version = kVcpuVersion;
    section.payload = state.encode();
    sections.push_back(std::move(section));
    filled.u32(control_.filled(vcpu.index()) ? 1 : 0);
  }
  engine::StateSection machine;
  machine.name = kMachineSection;
  machine.version = kMachineVersion;
  machine.payload = filled.take();
  sections.push_back(std::move(machine));
  sections.push_back(log_->save());
  return sections;
}

Status KvmMachine::decode_vcpu(const engine::StateSection& section, Loaded& loaded) const {
  if (section.version != kVcpuVersion || section.instance >= config_.vcpus) {
    return fail(
        ErrorCode::kRefused,
        "load_state",
        fmt::format("section vcpu {} version {}: this machine has {} vCPUs and knows version {}",
                    section.instance,
                    section.version,
                    config_.vcpus,
                    kVcpuVersion));
  }
  auto& place = loaded.vcpus[section.instance];
  if (place) {
    return fail(ErrorCode::kRefused,
                "load_state",
                fmt::format("section vcpu {} comes twice", section.instance));
  }
  GODWIT_TRY_ASSIGN(auto state, kvm::VcpuState::decode(section.payload));
  GODWIT_TRY(state.check(system_, vcpus_[section.instance]));
  place = std::move(state);
  return {};
}

Status KvmMachine::decode_machine(const engine::StateSection& section, Loaded& loaded) const {
  StateReader in(section.payload);
  const auto count = in.u32();
  std::vector<bool> filled;
  for (std::uint32_t i = 0; i < config_.vcpus; ++i) {
    filled.push_back(in.u32() == 1);
  }
  if (section.version != kMachineVersion || section.instance != 0 || loaded.filled ||
      count != config_.vcpus || !in.done()) {
    return fail(ErrorCode::kRefused,
                "load_state",
                "section machine has the wrong version or size, or comes twice");
  }
  loaded.filled = std::move(filled);
  return {};
}

Result<KvmMachine::Loaded> KvmMachine::decode(
    std::span<const engine::StateSection> sections) const {
  Loaded loaded;
  loaded.vcpus.resize(config_.vcpus);
  for (const auto& section : sections) {
    if (section.name == kVcpuSection) {
      GODWIT_TRY(decode_vcpu(section, loaded));
    } else if (section.name == kMachineSection) {
      GODWIT_TRY(decode_machine(section, loaded));
    } else if (section.name == StepLog::kSection) {
      if (loaded.telemetry != nullptr) {
        return fail(ErrorCode::kRefused, "load_state", "section telemetry comes twice");
      }
      GODWIT_TRY(log_->check(section));
      loaded.telemetry = &section;
    } else if (section.required) {
      return fail(
          ErrorCode::kRefused,
          "load_state",
          fmt::format("this machine has nothing that takes the section \"{}\"", section.name));
    }
  }
  const bool all = std::all_of(
      loaded.vcpus.begin(), loaded.vcpus.end(), [](const auto& v) { return v.has_value(); });
  if (!all || loaded.telemetry == nullptr || !loaded.filled) {
    return fail(
        ErrorCode::kRefused, "load_state", "a section of vcpu, machine or telemetry is missing");
  }
  return loaded;
}

Status KvmMachine::load_state(std::span<const engine::StateSection> sections) {
  if (phase_ != Phase::kNew) {
    return fail(
        ErrorCode::kRefused, "load_state", "this machine has been started or loaded before");
  }
  GODWIT_TRY_ASSIGN(auto loaded, decode(sections));
  GODWIT_TRY(prepare());
  // From here on the machine is modified: an error leaves it unusable.
  phase_ = Phase::kBroken;
  if (config_.skip_register) {
    loaded.vcpus[0]->forget(skipped_register(config_.seed, system_.has_avx()));
  }
  kvm::TscShift shift;
  for (std::size_t i = 0; i < vcpus_.size(); ++i) {
    GODWIT_TRY(loaded.vcpus[i]->restore(vcpus_[i], shift));
    stopped_tsc_[i] = loaded.vcpus[i]->tsc();
    if ((*loaded.filled)[i]) {
      control_.set_filled(static_cast<std::uint32_t>(i));
    }
  }
  GODWIT_TRY(log_->load(*loaded.telemetry));
  phase_ = Phase::kPaused;
  return {};
}

}  // namespace godwit::vmm
