#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "godwit/engine/ports/dirty.h"

namespace godwit::vmm {

/// Dirty tracking by the writers themselves, for hosts that permit no userfaultfd: a process
/// guest's workers tell of every page after they have written it. Write, then mark: a mark that is
/// harvested covers all of its write. A write ends, in the words of the port, when its mark is
/// made; after quiesce() every write has ended. Thread: mark() of one worker from its thread; the
/// rest as the port says.
class InstrumentedSource final : public engine::DirtySource {
 public:
  explicit InstrumentedSource(std::uint32_t workers);

  Status start(engine::DirtySink& sink) override;
  Status sync() override { return {}; }  // marks go straight to the sink
  void stop() override;
  [[nodiscard]] const char* name() const override { return "instrumented"; }

  /// Called by `worker` after it wrote `page`. Cost: one load while nothing is tracked.
  void mark(std::uint32_t worker, PageId page) {
    // Acquire: pairs with the store in start(). A worker that reads an old false wrote before
    // start() returned.
    if (armed_.load(std::memory_order_acquire)) {
      mark_armed(worker, page);
    }
  }

 private:
  /// Held by a worker while it uses the sink, so that stop() can wait for it: never contended
  /// otherwise.
  struct Gate {
    std::mutex mutex;
    engine::DirtySink* sink = nullptr;
  };
  void mark_armed(std::uint32_t worker, PageId page);
  void set_sink(engine::DirtySink* sink);

  std::atomic<bool> armed_{false};
  std::vector<std::unique_ptr<Gate>> gates_;
};

}  // namespace godwit::vmm
