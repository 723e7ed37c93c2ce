#include "godwit/base/mapping.h"
#include "godwit/engine/options.h"

#include "bench.h"
#include "source/batch_builder.h"

// batch_builder.cc and guest_bytes.cc: a frame of 64 pages, copied and hashed because the guest
// runs (live), or gathered and hashed where it lies. 256 MiB, so that pages come from memory and
// not from a cache.

namespace godwit::micro {
namespace {

constexpr std::uint64_t kBytes = 256 * kMiB;

void build(benchmark::State& state, bool live, bool zero) {
  auto mapping = Mapping::anonymous(kBytes);
  if (!mapping) {
    state.SkipWithError("no memory");
    return;
  }
  if (zero) {
    std::memset(mapping->data(), 0, kBytes);
  } else {
    fill_random({mapping->data(), kBytes}, 3);
  }
  engine::GuestMemory memory;
  memory.regions.push_back({0, kBytes >> kPageShift, mapping->data(), nullptr, -1, 0});
  const engine::SourceOptions options;
  engine::BatchBuilder builder(memory, options);
  std::uint64_t first = 0;
  std::uint64_t hash = 0;
  std::uint64_t frames = 0;
  engine::PageBatchPlan plan;
  plan.count = wire::kMaxBatchPages;
  for (auto _ : state) {
    for (std::uint32_t i = 0; i < plan.count; ++i) {
      plan.pages[i] = first + i;
    }
    builder.build(plan, wire::PagePhase::kPrecopy, live);
    if (frames++ == 0) {
      hash = fold(builder.body_hash(), builder.data_pages());
    }
    first = (first + plan.count) % (kBytes >> kPageShift);
  }
  state.SetLabel(fmt::format("hash={:016x}", hash));
  state.SetBytesProcessed(state.iterations() *
                          static_cast<std::int64_t>(wire::kMaxBatchPages * kPageBytes));
}

void builder_live(benchmark::State& state) {
  build(state, true, false);
}
void builder_gather(benchmark::State& state) {
  build(state, false, false);
}
void builder_zero(benchmark::State& state) {
  build(state, true, true);
}
BENCHMARK(builder_live)->Unit(benchmark::kMicrosecond);
BENCHMARK(builder_gather)->Unit(benchmark::kMicrosecond);
BENCHMARK(builder_zero)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace godwit::micro
