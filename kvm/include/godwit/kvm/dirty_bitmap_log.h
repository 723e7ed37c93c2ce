#pragma once

#include <cstdint>
#include <vector>

#include "godwit/engine/ports/dirty.h"
#include "godwit/kvm/vm.h"

namespace godwit::kvm {

/// Dirty tracking by KVM's own log: what vCPUs write, not what this process writes through its
/// mapping. Memslot i is region i. Units: bit i of word w = page 64 * w + i of the slot. Thread:
/// start, sync and stop from the migration thread. Guest running or not. Cost: sync() copies one
/// bit a page; one system call a slot and one a run of dirty words.
class DirtyBitmapLog final : public engine::DirtySource {
 public:
  /// Requires: `vm` outlives this; its memslots do not change once start() is called.
  explicit DirtyBitmapLog(Vm& vm) : vm_(vm) {}
  ~DirtyBitmapLog() override;
  DirtyBitmapLog(const DirtyBitmapLog&) = delete;
  DirtyBitmapLog& operator=(const DirtyBitmapLog&) = delete;

  Status start(engine::DirtySink& sink) override;
  Status sync() override;
  void stop() override;
  [[nodiscard]] const char* name() const override { return "log"; }

 private:
  Status sync_slot(std::uint32_t slot);
  Status clear(std::uint32_t slot, std::uint64_t first_word, std::uint64_t end_word);

  Vm& vm_;
  engine::DirtySink* sink_ = nullptr;
  std::vector<std::vector<std::uint64_t>> bitmaps_;
};

}  // namespace godwit::kvm
