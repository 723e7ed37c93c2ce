#include <thread>

#include <boost/lockfree/spsc_queue.hpp>

#include "godwit/base/units.h"

#include "bench.h"

// The queue of page_scheduler.cc between urgent and migration thread: what handing over costs, from
// one thread and between two.

namespace godwit::micro {
namespace {

constexpr std::uint64_t kItems = 4096;
using Queue = boost::lockfree::spsc_queue<PageId, boost::lockfree::capacity<1024>>;

void queue_one_thread(benchmark::State& state) {
  Queue queue;
  Outcome outcome(state);
  for (auto _ : state) {
    std::uint64_t hash = 0;
    for (std::uint64_t i = 0; i < kItems; ++i) {
      queue.push({0, i});
      PageId page;
      queue.pop(page);
      hash = fold(hash, page.index);
    }
    outcome.is(hash);
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(kItems));
}
BENCHMARK(queue_one_thread);

void queue_two_threads(benchmark::State& state) {
  Queue queue;
  Outcome outcome(state);
  for (auto _ : state) {
    std::jthread producer([&queue] {
      for (std::uint64_t i = 0; i < kItems;) {
        if (queue.push({0, i})) {
          ++i;
        } else {
          std::this_thread::yield();
        }
      }
    });
    std::uint64_t hash = 0;
    for (std::uint64_t got = 0; got < kItems;) {
      PageId page;
      if (queue.pop(page)) {
        hash = fold(hash, page.index);
        ++got;
      } else {
        std::this_thread::yield();
      }
    }
    outcome.is(hash);
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(kItems));
}
BENCHMARK(queue_two_threads)->UseRealTime()->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace godwit::micro
