#include "common/instrumented_source.h"

namespace godwit::vmm {

InstrumentedSource::InstrumentedSource(std::uint32_t workers) {
  for (std::uint32_t i = 0; i < workers; ++i) {
    gates_.push_back(std::make_unique<Gate>());
  }
}

void InstrumentedSource::set_sink(engine::DirtySink* sink) {
  for (const auto& gate : gates_) {
    const std::lock_guard lock(gate->mutex);
    gate->sink = sink;
  }
}

Status InstrumentedSource::start(engine::DirtySink& sink) {
  set_sink(&sink);
  // Release: pairs with the load in mark(); the gates hold the sink before anybody sees the flag.
  armed_.store(true, std::memory_order_release);
  return {};
}

void InstrumentedSource::stop() {
  // Release: pairs with the load in mark(). A worker that still reads true finds no sink behind its
  // gate.
  armed_.store(false, std::memory_order_release);
  set_sink(nullptr);
}

void InstrumentedSource::mark_armed(std::uint32_t worker, PageId page) {
  auto& gate = *gates_[worker];
  const std::lock_guard lock(gate.mutex);
  if (gate.sink != nullptr) {
    gate.sink->mark(page.region, page.index / 64, 1ULL << (page.index % 64));
  }
}

}  // namespace godwit::vmm
