#include <cstdint>
#include <optional>

#include "godwit/base/mapping.h"
#include "godwit/base/units.h"
#include "godwit/kvm/system.h"
#include "godwit/kvm/vm.h"

#include "bench.h"

// What KVM does to a memslot costs by its size, though nobody ever touched the memory: see
// docs/dirty-tracking.md, "Slots of large guests".

namespace godwit::micro {
namespace {

struct EmptyMachine {
  kvm::Vm vm;
  Mapping memory;

  static std::optional<EmptyMachine> make(benchmark::State& state, std::uint64_t bytes) {
    auto system = kvm::System::open();
    auto memory = Mapping::anonymous(bytes);
    if (system && memory) {
      if (auto vm = kvm::Vm::create(*system); vm) {
        return EmptyMachine{std::move(*vm), std::move(*memory)};
      }
    }
    state.SkipWithError("no machine of that size");
    return std::nullopt;
  }
};

std::uint64_t bytes_of(const benchmark::State& state) {
  return static_cast<std::uint64_t>(state.range(0)) * kGiB;
}

void slot_add(benchmark::State& state) {
  Outcome outcome(state);
  for (auto _ : state) {
    state.PauseTiming();
    auto machine = EmptyMachine::make(state, bytes_of(state));
    if (!machine) {
      return;
    }
    state.ResumeTiming();
    const auto added =
        machine->vm.add_memslot({0, bytes_of(state) >> kPageShift, machine->memory.data()});
    state.PauseTiming();
    outcome.is(added ? 1 : 0);
    machine.reset();
    state.ResumeTiming();
  }
}

/// How long every vCPU that faults is held when tracking starts.
void slot_log_on(benchmark::State& state) {
  Outcome outcome(state);
  auto machine = EmptyMachine::make(state, bytes_of(state));
  if (!machine ||
      !machine->vm.add_memslot({0, bytes_of(state) >> kPageShift, machine->memory.data()})) {
    return;
  }
  for (auto _ : state) {
    const auto on = machine->vm.set_dirty_logging(0, true);
    state.PauseTiming();
    const auto off = machine->vm.set_dirty_logging(0, false);
    outcome.is(on && off ? 1 : 0);
    state.ResumeTiming();
  }
}
/// Where KVM does not work there is nothing to measure, and nothing is wrong.
const bool registered = [] {
  if (kvm::unusable_reason().empty()) {
    for (auto* bench : {benchmark::RegisterBenchmark("slot_add", slot_add),
                        benchmark::RegisterBenchmark("slot_log_on", slot_log_on)}) {
      bench->Arg(1)->Arg(16)->Unit(benchmark::kMicrosecond);
    }
  }
  return true;
}();

}  // namespace
}  // namespace godwit::micro
