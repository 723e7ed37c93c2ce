#include <memory>

#include "bench.h"
#include "memory.h"
#include "placing/placers.h"
#include "placing/populate.h"

// alias.cc, pwrite.cc: 64 pages at a time into 32 MiB of a memfd, by either way; into memory that
// was never touched (fresh) and into memory that has its pages (warm).

namespace godwit::micro {
namespace {

constexpr std::uint64_t kBytes = 32 * kMiB;
constexpr std::uint64_t kRun = 64;

using MakePlacer = std::unique_ptr<engine::PagePlacer> (*)(const engine::GuestMemory&);

void place_all(benchmark::State& state, engine::PagePlacer& placer, const std::byte* bytes) {
  for (std::uint64_t page = 0; page < kBytes >> kPageShift; page += kRun) {
    if (const auto done = placer.place({0, page, kRun}, bytes); !done) {
      state.SkipWithError(done.error().message().c_str());
      return;
    }
  }
}

void placement(benchmark::State& state, MakePlacer make_placer, bool fresh) {
  const auto source = random_bytes(kRun * kPageBytes, 4);
  auto memory = TargetMemory::create(kBytes);
  if (!memory) {
    state.SkipWithError(memory.error().message().c_str());
    return;
  }
  if (!fresh && !uffd::prealloc(memory->view)) {
    state.SkipWithError("the memory cannot be populated");
    return;
  }
  auto placer = make_placer(memory->view);
  Outcome outcome(state);
  for (auto _ : state) {
    if (fresh) {
      state.PauseTiming();
      memory = TargetMemory::create(kBytes);
      if (!memory) {
        state.SkipWithError(memory.error().message().c_str());
        return;
      }
      placer = make_placer(memory->view);
      state.ResumeTiming();
    }
    place_all(state, *placer, source.data());
    state.PauseTiming();
    outcome.is(
        wire::hash64({memory->alias.data() + kBytes - kRun * kPageBytes, kRun * kPageBytes}));
    state.ResumeTiming();
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(kBytes));
}

void place_alias_fresh(benchmark::State& state) {
  placement(state, uffd::make_alias_placer, true);
}
void place_alias_warm(benchmark::State& state) {
  placement(state, uffd::make_alias_placer, false);
}
void place_pwrite_fresh(benchmark::State& state) {
  placement(state, uffd::make_pwrite_placer, true);
}
void place_pwrite_warm(benchmark::State& state) {
  placement(state, uffd::make_pwrite_placer, false);
}
BENCHMARK(place_alias_fresh)->Unit(benchmark::kMillisecond);
BENCHMARK(place_alias_warm)->Unit(benchmark::kMillisecond);
BENCHMARK(place_pwrite_fresh)->Unit(benchmark::kMillisecond);
BENCHMARK(place_pwrite_warm)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace godwit::micro
