#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "godwit/engine/ports/dirty.h"
#include "godwit/engine/ports/memory.h"
#include "godwit/kvm/vm.h"

namespace godwit::kvm {

class ArmedSlots;

/// Dirty tracking by KVM's own log: what vCPUs write, not what this process writes through its
/// mapping, other than Vm::note_written(). Memslots may be added while it runs.
/// Thread: start, sync and stop from the migration thread. Guest running or not. Cost: of slots
/// that hold pages only: start() walks the kernel's books of each, sync() copies one bit a page;
/// one system call a slot and one a run of dirty words.
class DirtyBitmapLog final : public engine::DirtySource {
 public:
  /// `populated`: tells which slots hold pages; null: all may. Requires: both outlive this.
  explicit DirtyBitmapLog(Vm& vm, engine::PopulatedScan* populated = nullptr);
  ~DirtyBitmapLog() override;
  DirtyBitmapLog(const DirtyBitmapLog&) = delete;
  DirtyBitmapLog& operator=(const DirtyBitmapLog&) = delete;

  Status start(engine::DirtySink& sink) override;
  Status sync() override;
  void stop() override;
  [[nodiscard]] const char* name() const override { return "log"; }

 private:
  Status sync_slot(std::uint32_t slot, const Memslot& memory);
  Status clear(std::uint32_t slot,
               const Memslot& memory,
               std::uint64_t first_word,
               std::uint64_t end_word);

  Vm& vm_;
  engine::DirtySink* sink_ = nullptr;
  std::unique_ptr<ArmedSlots> slots_;
  std::vector<std::uint64_t> words_;  ///< of one slot at a time
};

}  // namespace godwit::kvm
