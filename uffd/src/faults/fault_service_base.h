#pragma once

#include <memory>

#include "godwit/engine/ports/memory.h"
#include "godwit/engine/ports/placing.h"
#include "godwit/uffd/uffd.h"

#include "address_map.h"

namespace godwit::uffd {

/// What the fault services of all kinds of memory share: registering, reading faults, waking.
/// Ownership: the userfaultfd is shared with whoever else fills pages through it.
class FaultServiceBase : public engine::FaultService {
 public:
  FaultServiceBase(const engine::GuestMemory& memory,
                   std::shared_ptr<Uffd> uffd,
                   Registration registration)
      : memory_(memory), addresses_(memory), uffd_(std::move(uffd)), registration_(registration) {}

  Status arm() final;
  Status disarm() final;
  [[nodiscard]] int fd() const final { return uffd_->fd(); }
  Result<std::size_t> read(std::span<engine::PageFault> faults) final;
  Result<engine::MapResult> map(PageRun run) final;

 protected:
  /// Maps what is not mapped; a page that is, is counted in `already`.
  virtual Status map_pages(PageRun run, engine::MapResult& result) = 0;
  [[nodiscard]] const engine::GuestMemory& memory() const { return memory_; }
  Uffd& uffd() { return *uffd_; }

 private:
  Status unregister_first(std::size_t count);

  const engine::GuestMemory memory_;
  const AddressMap addresses_;
  const std::shared_ptr<Uffd> uffd_;
  const Registration registration_;
};

}  // namespace godwit::uffd
