#include <poll.h>
#include <sys/mman.h>

#include <array>
#include <memory>

#include "godwit/base/thread.h"

#include "bench.h"
#include "faults/fault_services.h"
#include "memory.h"

// memfd_fault_service.cc: mapping runs of pages that the file has, and a whole fault: a thread
// touches a page, another one reads the fault, maps the page and wakes it.

namespace godwit::micro {
namespace {

constexpr std::uint64_t kPages = 4096;
constexpr std::uint64_t kBytes = kPages << kPageShift;

struct Armed {
  TargetMemory memory;
  std::unique_ptr<engine::FaultService> faults;
};

/// Null when this host has no userfaultfd: the benchmark then says so and is no failure.
std::unique_ptr<Armed> arm(benchmark::State& state) {
  auto armed = std::make_unique<Armed>();
  auto memory = TargetMemory::create(kBytes);
  if (!memory) {
    state.SkipWithError(memory.error().message().c_str());
    return nullptr;
  }
  armed->memory = std::move(*memory);
  fill_random({armed->memory.alias.data(), kBytes}, 5);
  auto faults = uffd::make_memfd_fault_service(armed->memory.view, uffd::Mode::kUserFaultsEnough);
  if (!faults || !(*faults)->arm()) {
    state.SetLabel("left out: no userfaultfd here");
    return nullptr;
  }
  armed->faults = std::move(*faults);
  return armed;
}

/// Takes the page-table entries away again; the file keeps its pages.
void unmap(Armed& armed) {
  ::madvise(armed.memory.guest.data(), kBytes, MADV_DONTNEED);
}

/// UFFDIO_CONTINUE by runs of this many pages.
void continue_runs(benchmark::State& state) {
  const auto run = static_cast<std::uint64_t>(state.range(0));
  const auto armed = arm(state);
  if (armed == nullptr) {
    for (auto _ : state) {
    }
    return;
  }
  Outcome outcome(state);
  for (auto _ : state) {
    std::uint64_t mapped = 0;
    for (std::uint64_t page = 0; page < kPages; page += run) {
      const auto done = armed->faults->map({0, page, run});
      if (!done) {
        state.SkipWithError(done.error().message().c_str());
        return;
      }
      mapped += done->mapped;
    }
    state.PauseTiming();
    outcome.is(fold(mapped, wire::hash64({armed->memory.guest.data(), kBytes})));
    unmap(*armed);
    state.ResumeTiming();
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(kPages));
}
BENCHMARK(continue_runs)->Arg(1)->Arg(64)->Arg(512)->Unit(benchmark::kMicrosecond);

/// Serves faults until told to stop.
void serve(engine::FaultService& faults, const EventFd& stop) {
  std::array<engine::PageFault, 16> batch;
  for (;;) {
    std::array<pollfd, 2> polled{{{faults.fd(), POLLIN, 0}, {stop.fd(), POLLIN, 0}}};
    (void)::poll(polled.data(), polled.size(), -1);
    if ((polled[1].revents & POLLIN) != 0) {
      return;
    }
    const auto count = faults.read(batch);
    for (std::size_t i = 0; count && i < *count; ++i) {
      if (!faults.map({0, batch[i].page.index, 1})) {
        [[maybe_unused]] const auto disarmed = faults.disarm();  // nobody may wait for ever
        return;
      }
    }
  }
}

void fault_round_trip(benchmark::State& state) {
  const auto armed = arm(state);
  auto stop = EventFd::create();
  if (armed == nullptr || !stop) {
    for (auto _ : state) {
    }
    return;
  }
  constexpr std::uint64_t kTouched = 256;
  {
    auto server =
        start_thread("micro faults", ThreadRole::kUrgent, [&] { serve(*armed->faults, *stop); });
    Outcome outcome(state);
    for (auto _ : state) {
      std::uint64_t hash = 0;
      for (std::uint64_t page = 0; page < kTouched; ++page) {
        const auto* at = reinterpret_cast<const volatile std::uint64_t*>(
            armed->memory.guest.data() + (page << kPageShift));
        hash = fold(hash, *at);
      }
      state.PauseTiming();
      outcome.is(hash);
      unmap(*armed);
      state.ResumeTiming();
    }
    stop->signal();
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(kTouched));
}
BENCHMARK(fault_round_trip)->UseRealTime()->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace godwit::micro
