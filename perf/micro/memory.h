#pragma once

#include "godwit/base/mapping.h"
#include "godwit/engine/ports/memory.h"

namespace godwit::micro {

/// A target's memory of one region: a memfd, the guest's mapping and the alias.
struct TargetMemory {
  Fd file;
  Mapping guest;
  Mapping alias;
  engine::GuestMemory view;

  static Result<TargetMemory> create(std::uint64_t bytes) {
    TargetMemory memory;
    GODWIT_TRY_ASSIGN(memory.file, create_memfd("godwit-micro", bytes));
    GODWIT_TRY_ASSIGN(memory.guest, Mapping::shared(memory.file.get(), 0, bytes));
    GODWIT_TRY_ASSIGN(memory.alias, Mapping::shared(memory.file.get(), 0, bytes));
    memory.view.regions.push_back(
        {0, bytes >> kPageShift, memory.guest.data(), memory.alias.data(), memory.file.get(), 0});
    return memory;
  }
};

}  // namespace godwit::micro
