#include <algorithm>
#include <vector>

#include "godwit/base/mapping.h"
#include "godwit/engine/atomic_bitmap.h"
#include "godwit/uffd/populated_scan.h"

#include "bench.h"
#include "books/dirty_ledger.h"

// A guest of 4 GiB: atomic_bitmap.h, dirty_ledger.cc, populated_scan.cc. The argument is how many
// pages lie between two that are marked.

namespace godwit::micro {
namespace {

constexpr std::uint64_t kPages = kGiB * 4 >> kPageShift;

void bitmap_mark_harvest(benchmark::State& state) {
  const auto step = static_cast<std::uint64_t>(state.range(0));
  engine::AtomicBitmap bitmap(kPages);
  Outcome outcome(state);
  for (auto _ : state) {
    for (std::uint64_t page = 0; page < kPages; page += step) {
      bitmap.set(page / 64, 1ULL << (page % 64));
    }
    std::uint64_t hash = 0;
    bitmap.harvest([&](std::uint64_t word, std::uint64_t bits) {
      hash = fold(hash, word);
      hash = fold(hash, bits);
    });
    outcome.is(hash);
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(kPages / step));
}
BENCHMARK(bitmap_mark_harvest)->Arg(1)->Arg(64)->Arg(4096);

/// A sync that finds nothing: what the summary level is for.
void bitmap_harvest_clean(benchmark::State& state) {
  engine::AtomicBitmap bitmap(kPages);
  Outcome outcome(state);
  for (auto _ : state) {
    std::uint64_t hash = 0;
    bitmap.harvest([&](std::uint64_t word, std::uint64_t) { hash = fold(hash, word); });
    benchmark::DoNotOptimize(hash);
    outcome.is(hash);
  }
}
BENCHMARK(bitmap_harvest_clean);

void ledger_absorb(benchmark::State& state) {
  const auto step = static_cast<std::uint64_t>(state.range(0));
  engine::DirtyLedger ledger({kPages});
  Outcome outcome(state);
  for (auto _ : state) {
    for (std::uint64_t page = 0; page < kPages; page += step) {
      ledger.sink().mark(0, page / 64, 1ULL << (page % 64));
    }
    std::uint64_t announced = 0;
    const auto marked = ledger.absorb_dirty([&](PageRun run) { announced += run.count; });
    auto hash = fold(fold(announced, marked), ledger.pending_hash());
    for (std::uint64_t word = 0; word < kPages / 64; ++word) {
      hash += ledger.claim(0, word, ~0ULL) & 1;
    }
    outcome.is(hash);
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(kPages / step));
}
BENCHMARK(ledger_absorb)->Arg(1)->Arg(64)->Unit(benchmark::kMillisecond);

/// The books of a 64 GiB guest that nobody has written yet: they must not cost its address space.
void ledger_of_64_gib(benchmark::State& state) {
  Outcome outcome(state);
  for (auto _ : state) {
    engine::DirtyLedger ledger({64 * kGiB >> kPageShift});
    outcome.is(ledger.pending_pages());
  }
}
BENCHMARK(ledger_of_64_gib)->Unit(benchmark::kMillisecond);

/// One written page in each run of `step` pages of a memfd.
void populated_scan(benchmark::State& state) {
  constexpr std::uint64_t kBytes = 256 * kMiB;
  const auto step = static_cast<std::uint64_t>(state.range(0)) << kPageShift;
  auto file = create_memfd("godwit-micro", kBytes);
  if (!file) {
    state.SkipWithError("no memory");
    return;
  }
  auto mapping = Mapping::shared(file->get(), 0, kBytes);
  if (!mapping) {
    state.SkipWithError("no memory");
    return;
  }
  for (std::uint64_t at = 0; at < kBytes; at += step) {
    mapping->data()[at] = std::byte{1};
  }
  engine::GuestMemory memory;
  memory.regions.push_back({0, kBytes >> kPageShift, mapping->data(), nullptr, file->get(), 0});
  const auto scan = uffd::make_memfd_scan(memory);
  Outcome outcome(state);
  for (auto _ : state) {
    std::uint64_t hash = 0;
    const auto done =
        scan->scan([&](PageRun run) { hash = fold(fold(hash, run.first), run.count); });
    if (!done) {
      state.SkipWithError(done.error().message().c_str());
      return;
    }
    outcome.is(hash);
  }
}
BENCHMARK(populated_scan)->Arg(1)->Arg(16)->Arg(4096)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace godwit::micro
